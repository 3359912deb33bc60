import type { DType } from "../../dtype.js";
import { sizeOf } from "../../shape.js";
import { lanesOf } from "../dtype.js";
import type { WgslStep } from "../kernel.js";
import { type BufferUse, bufferAt, type StepParam, wgslStep } from "../step.js";
import { offsetCode } from "../strides.js";
import type { MatmulCall } from "./matmul-call.js";
import { each } from "./team.js";

/** How the outputs of a workgroup are shared out; a thread sums `threadRows` x `threadColumns` of them in registers. */
export interface RegisterTiling {
  readonly rows: number;
  readonly columns: number;
  /** Inner slice in workgroup memory. */
  readonly depth: number;
  readonly threadRows: number;
  readonly threadColumns: number;
  /** Floats between rows of workgroup memory. */
  readonly padding: number;
  /** Tiles of M before the next tile of N. */
  readonly band: number;
  /** Runs of 32 threads share 4 x 8 blocks of outputs; else 16 x 16 threads share the tile. */
  readonly isWarped?: boolean;
  /** Steps of the inner axis that are written out; a loop goes over the rest. Long texts compile slowly. */
  readonly unroll: number;
  readonly isFused?: boolean;
  readonly isDouble?: boolean;
}

const largeTiling: RegisterTiling = {
  rows: 128,
  columns: 128,
  depth: 16,
  threadRows: 8,
  threadColumns: 8,
  padding: 4,
  band: 8,
  unroll: 1,
  isWarped: true,
};
const smallTiling: RegisterTiling = {
  ...largeTiling,
  rows: 64,
  columns: 64,
  threadRows: 4,
  threadColumns: 4,
};
/** With fewer large tiles than this, small ones keep more of the adapter busy. */
const manyTiles = 96;

/** Large tiles where the product has many of them. */
export function registerTilingOf({ M, N, batch }: MatmulCall): RegisterTiling {
  const tiles = Math.ceil(M / largeTiling.rows) * Math.ceil(N / largeTiling.columns) * sizeOf(batch);
  return tiles >= manyTiles ? largeTiling : smallTiling;
}

/**
 * Any float product in f32: slices of both operands in workgroup memory, sums in registers, the next slice on its way while
 * one is multiplied. Four elements at a time where the dense axes are multiples of four. Twin: matmul's loops.
 */
export function tiledMatmulStep(call: MatmulCall, tiling: RegisterTiling = registerTilingOf(call)): WgslStep {
  const { M, N, K, batch, batchStridesA, batchStridesB, transposeA, transposeB, dtypes } = call;
  const { rows, columns, depth, band, isDouble = false } = tiling;
  const walk = offsetCode({ shape: batch, strides: [batchStridesA, batchStridesB] }, "batch", "w");
  const [fromA = "0u", fromB = "0u"] = walk.offsets;
  const [tilesM, tilesN] = [Math.ceil(M / rows), Math.ceil(N / columns)];
  const threads = (rows * columns) / (tiling.threadRows * tiling.threadColumns);
  const common = { K, depth, threads, padding: tiling.padding, isDouble };
  const a = operandTile({
    ...common,
    name: "a",
    index: 0,
    dtype: dtypes.a,
    isDenseK: !transposeA,
    edge: M,
    tileEdge: rows,
    from: fromA,
    strides: batchStridesA,
  });
  const b = operandTile({
    ...common,
    name: "b",
    index: 1,
    dtype: dtypes.b,
    isDenseK: transposeB,
    edge: N,
    tileEdge: columns,
    from: fromB,
    strides: batchStridesB,
  });
  const target = targetOf(dtypes.c, N);
  const fetchNext = `    let next = k0 + ${depth}u;
    if (next < P.K) {
${a.fetch("next")}
${b.fetch("next")}
    }`;
  const loop = isDouble
    ? `${a.keep("0u")}
${b.keep("0u")}
  workgroupBarrier();
  var turn = 0u;
  for (var k0 = 0u; k0 < P.K; k0 += ${depth}u) {
${fetchNext}
${multiply(tiling, a, b, "turn")}
    turn = 1u - turn;
    if (next < P.K) {
${a.keep(`turn * ${a.size}u`)}
${b.keep(`turn * ${b.size}u`)}
    }
    workgroupBarrier();
  }`
    : `  for (var k0 = 0u; k0 < P.K; k0 += ${depth}u) {
${a.keep("0u")}
${b.keep("0u")}
    workgroupBarrier();
${fetchNext}
${multiply(tiling, a, b, "")}
    workgroupBarrier();
  }`;
  return wgslStep({
    buffers: [a.buffer, b.buffer, target.buffer],
    params: { M, N, K, tilesM, tilesN, ...a.params, ...b.params, ...walk.params },
    threads,
    groups: tilesM * tilesN * sizeOf(batch),
    declarations: [a.declarations, b.declarations].join("\n"),
    body: `  let batch = group / (P.tilesM * P.tilesN);
  let inBatch = group % (P.tilesM * P.tilesN);
  let perBand = ${band}u * P.tilesN;
  let firstM = (inBatch / perBand) * ${band}u;
  let bandRows = min(${band}u, P.tilesM - firstM);
  let inBand = inBatch % perBand;
  let aStart = (firstM + inBand % bandRows) * ${rows}u;
  let bStart = (inBand / bandRows) * ${columns}u;
${walk.code}
${placeOf(tiling)}
${eachSum(tiling, (name) => `  var ${name} = vec4f();`)}
${a.setup}
${b.setup}
${a.fetch("0u")}
${b.fetch("0u")}
${loop}
${storeSums(tiling, target)}`,
  });
}

/** Where a thread's outputs lie: blocks of 4 x 4, `rowStep` and `columnStep` apart. */
function stepsOf({ rows, columns, isWarped }: RegisterTiling): { rowStep: number; columnStep: number } {
  return isWarped ? { rowStep: 16, columnStep: 32 } : { rowStep: rows / 2, columnStep: columns / 2 };
}

function placeOf({ columns, threadRows, threadColumns, isWarped }: RegisterTiling): string {
  if (!isWarped) {
    return `  let rowAt = (thread / 16u) * 4u;
  let columnAt = (thread % 16u) * 4u;`;
  }
  const wide = columns / (8 * threadColumns);
  return `  let warp = thread / 32u;
  let rowAt = (warp / ${wide}u) * ${4 * threadRows}u + ((thread % 32u) / 8u) * 4u;
  let columnAt = (warp % ${wide}u) * ${8 * threadColumns}u + (thread % 8u) * 4u;`;
}

/** A line for each vector of four sums: row r of the thread, block c of its columns. */
function eachSum(
  { threadRows, threadColumns }: RegisterTiling,
  line: (name: string, r: number, c: number) => string,
): string {
  const wide = threadColumns / 4;
  return each(threadRows * wide, (i) => {
    const [r, c] = [Math.floor(i / wide), i % wide];
    return line(`sum${r}_${c}`, r, c);
  });
}

function multiply(tiling: RegisterTiling, a: OperandTile, b: OperandTile, turn: string): string {
  const { depth, threadRows, threadColumns, unroll, isFused } = tiling;
  const { rowStep, columnStep } = stepsOf(tiling);
  const from = (size: number) => (turn === "" ? "" : `${turn} * ${size}u + `);
  return `    for (var k = 0u; k < ${depth}u; k += ${unroll}u) {
      let rowA = ${from(a.size)}k * ${a.stride}u + rowAt / 4u;
      let rowB = ${from(b.size)}k * ${b.stride}u + columnAt / 4u;
${each(
  unroll,
  (k) => `      {
${each(threadRows / 4, (i) => `        let a${i} = tileA[rowA + ${k * a.stride + (i * rowStep) / 4}u];`)}
${each(threadColumns / 4, (j) => `        let b${j} = tileB[rowB + ${k * b.stride + (j * columnStep) / 4}u];`)}
${eachSum(tiling, (name, r, c) => {
  const left = `a${r >> 2}.${"xyzw"[r & 3]}`;
  return isFused
    ? `        ${name} = fma(vec4f(${left}), b${c}, ${name});`
    : `        ${name} += ${left} * b${c};`;
})}
      }`,
)}
    }`;
}

interface OperandTile {
  readonly buffer: BufferUse;
  readonly params: Readonly<Record<string, StepParam>>;
  readonly declarations: string;
  /** Vectors of a row of workgroup memory, and of all of it. */
  readonly stride: number;
  readonly size: number;
  readonly setup: string;
  fetch(k: string): string;
  keep(base: string): string;
}

interface TileOperand {
  readonly name: "a" | "b";
  readonly index: number;
  readonly dtype: DType;
  readonly isDenseK: boolean;
  readonly edge: number;
  readonly tileEdge: number;
  readonly K: number;
  readonly depth: number;
  readonly threads: number;
  readonly padding: number;
  readonly isDouble: boolean;
  readonly from: string;
  readonly strides: readonly number[];
}

/** How one operand gets from memory through registers to rows of workgroup memory that lie along the edge. */
function operandTile(operand: TileOperand): OperandTile {
  const { name, index, dtype, isDenseK, edge, tileEdge, K, depth, threads, padding, from, strides } = operand;
  const lanes = [isDenseK ? K : edge, ...strides].every((length) => length % 4 === 0) ? 4 : 1;
  const upper = name.toUpperCase();
  const stride = (tileEdge + padding) / 4;
  const rowLoads = (isDenseK ? depth : tileEdge) / lanes;
  const loads = (tileEdge * depth) / lanes / threads;
  const [isWhole, isWholeK] = [edge % tileEdge === 0, K % depth === 0];
  const type = lanes === 4 ? "vec4f" : "f32";
  const row = (i: number) => `((thread + ${i * threads}u) / ${rowLoads}u)`;
  const column = (i: number) => `((thread + ${i * threads}u) % ${rowLoads}u)`;
  const perRow = `P.${name}Row`;
  // Places beyond the edge read the last one instead: their sums are never stored.
  const address = (i: number) => {
    if (isDenseK) {
      const at = isWhole ? `${name}Start + ${row(i)}` : `min(${name}Start + ${row(i)}, P.${name}Edge - 1u)`;
      return `(${at}) * ${perRow} + ${column(i)}`;
    }
    const at = `${name}Start / ${lanes}u + ${column(i)}`;
    return `${row(i)} * ${perRow} + ${isWhole ? at : `min(${at}, ${perRow} - 1u)`}`;
  };
  const step = (k: string) => (isDenseK ? `${k} / ${lanes}u` : `${k} * ${perRow}`);
  const inner = (i: number, k: string) => (isDenseK ? `${k} + ${column(i)} * ${lanes}u` : `${k} + ${row(i)}`);
  const place = (base: string, k: string, at: string) =>
    `tile${upper}[${base === "0u" ? "" : `${base} + `}(${k}) * ${stride}u + (${at}) / 4u]`;
  const keep = (i: number, base: string) => {
    const value = `${name}Next${i}`;
    if (!isDenseK && lanes === 4) return `    ${place(base, row(i), `${column(i)} * 4u`)} = ${value};`;
    const [k, at] = isDenseK ? [`${column(i)} * ${lanes}u`, row(i)] : [row(i), column(i)];
    return each(
      lanes,
      (j) =>
        `    ${place(base, `${k} + ${j}u`, at)}[(${at}) % 4u] = ${lanes === 4 ? `${value}.${"xyzw"[j]}` : value};`,
    );
  };
  return {
    buffer: {
      name,
      memory: bufferAt(index),
      dtype,
      access: "read",
      ...(lanes === 4 ? { element: vectorType(dtype) } : {}),
    },
    params: { [`${name}Row`]: (isDenseK ? K : edge) / lanes, [`${name}Edge`]: edge },
    declarations: `var<workgroup> tile${upper}: array<vec4f, ${depth * stride * (operand.isDouble ? 2 : 1)}>;
${lanes === 4 ? `fn read_${name}(at: u32) -> vec4f { let word = ${name}[at]; return ${widened(dtype)}; }` : `fn read_${name}(at: u32) -> f32 { return load_${name}(at); }`}`,
    stride,
    size: depth * stride,
    setup: `  let ${name}Base = (${from}) / ${lanes}u;
${each(loads, (i) => `  var ${name}Next${i}: ${type};\n  let ${name}At${i} = ${name}Base + ${address(i)};`)}`,
    fetch: (k) => `    { let step = ${step(k)};
${each(loads, (i) => {
  const load = `${name}Next${i} = read_${name}(${name}At${i} + step);`;
  return isWholeK
    ? `      ${load}`
    : `      if (${inner(i, k)} < P.K) { ${load} } else { ${name}Next${i} = ${type}(); }`;
})}
    }`,
    keep: (base) => each(loads, (i) => keep(i, base)),
  };
}

/** Type of four elements in storage, and the expression of their values in `word`. */
const vectorType = (dtype: DType) => (lanesOf(dtype) === 1 ? "vec4f" : "vec2u");

function widened(dtype: DType): string {
  if (dtype === "f16") return "vec4f(unpack2x16float(word.x), unpack2x16float(word.y))";
  if (dtype === "bf16")
    return "bitcast<vec4f>(vec4u(word.x << 16u, word.x & 0xffff0000u, word.y << 16u, word.y & 0xffff0000u))";
  return "word";
}

interface Target {
  readonly buffer: BufferUse;
  /** Stores the vector `sum` of four neighbouring outputs at `at`; n is the first one's column. */
  store(sum: string): string;
}

function targetOf(dtype: DType, N: number): Target {
  const base = { name: "c", memory: bufferAt(2), dtype } as const;
  if (N % 4 !== 0) {
    return {
      buffer: { ...base, access: "write" },
      store: (sum) =>
        each(4, (j) => `      if (n + ${j}u < P.N) { store_c(at + ${j}u, ${sum}.${"xyzw"[j]}); }`),
    };
  }
  const encode = dtype === "f16" ? "h_toF16" : "h_toBf16";
  const pair = (sum: string, i: number) => `${encode}(${sum}[${i}]) | (${encode}(${sum}[${i + 1}]) << 16u)`;
  return {
    buffer: { ...base, access: "words", element: vectorType(dtype) },
    store: (sum) =>
      dtype === "f32"
        ? `      if (n < P.N) { c[at / 4u] = ${sum}; }`
        : `      if (n < P.N) { c[at / 4u] = vec2u(${pair(sum, 0)}, ${pair(sum, 2)}); }`,
  };
}

function storeSums(tiling: RegisterTiling, target: Target): string {
  const { rowStep, columnStep } = stepsOf(tiling);
  return eachSum(
    tiling,
    (name, r, c) => `  {
    let m = aStart + rowAt + ${(r >> 2) * rowStep + (r & 3)}u;
    let n = bStart + columnAt + ${c * columnStep}u;
    if (m < P.M) {
      let at = (batch * P.M + m) * P.N + n;
${target.store(name)}
    }
  }`,
  );
}
