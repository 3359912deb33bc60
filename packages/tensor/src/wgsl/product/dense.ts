import { type DType, isHalf } from "../../dtype.js";
import { each, numbered, teamOf } from "../kernels/team.js";
import { waitsHere } from "../step.js";
import type { ProductPiece, ProductTask, ProductText } from "./piece.js";

/** y[m, n] = sum_k x[m, k] w[n, k] for few rows m: the weight is read once and bounds the time. */
export interface DenseCall {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly dtypes: { readonly x: DType; readonly w: DType; readonly y: DType };
}

const unit = 2;
/** Rows of x that a workgroup keeps sums for at most. */
const maxProductRows = 8;
/** More rows of x than this are worth the tiles of a matrix product. */
const maxRows = 32;
/** With fewer outputs the threads of a workgroup work on the same ones. */
const manyOutputs = 32_768;

/** How a kernel shares its work; the defaults suit the shape. */
export interface DenseTuning {
  readonly threads?: number;
  /** Pairs of outputs that threads make together. */
  readonly unitsPerTile?: number;
}

/** How threads share the work. */
interface Shape {
  /** Threads that add up the same outputs. */
  readonly lanes: number;
  /** Loads of a thread for each output that are under way together. */
  readonly ahead: number;
}

/**
 * Each team of threads makes a few outputs: a subgroup where there are many, a whole workgroup where there are few; 16 bytes
 * of weights a thread at a time, several loads ahead. Arithmetic is f32.
 *
 * For weights whose rows are whole loads (inner extent a multiple of 8, of 4 in f32), an even number of outputs and at most 32
 * rows of x; undefined else. Twin: matmul's loops.
 */
export function denseProduct(
  { M, N, K, dtypes }: DenseCall,
  { threads = 256, unitsPerTile = M >= 4 ? 2 : 1 }: DenseTuning = {},
): ProductPiece | undefined {
  const perLoad = isHalf(dtypes.w) ? 8 : 4;
  const areFloats = [dtypes.w, dtypes.x, dtypes.y].every((dtype) => dtype === "f32" || isHalf(dtype));
  if (!areFloats || K % perLoad !== 0 || N % unit !== 0 || M > maxRows || M < 1 || K === 0) return undefined;
  if (!isHalf(dtypes.w) && dtypes.x !== "f32") return undefined;
  const rows = Math.ceil(M / Math.ceil(M / maxProductRows));
  // A workgroup costs a software adapter milliseconds: it is worth one only where every thread of it has something to read.
  const isLong = K >= perLoad * threads;
  const isShared = isLong && N <= manyOutputs;
  return {
    rows,
    rowBlocks: Math.ceil(M / rows),
    inFeatures: K,
    outFeatures: N,
    unit,
    unitsPerTile,
    threads,
    format: `${dtypes.w} ${dtypes.x}`,
    xWidth: perLoad,
    buffers: [{ name: "w", input: 1, dtype: dtypes.w, element: "vec4u" }],
    params: { N, chunks: K / perLoad },
    write: (task) => writeDense({ M: rows, dtype: dtypes.w, isShared }, task),
  };
}

function writeDense(
  { M, dtype, isShared }: { readonly M: number; readonly dtype: DType; readonly isShared: boolean },
  task: ProductTask,
): ProductText | undefined {
  const { slots, norm, features, threads } = task;
  if (slots.length > maxSlots) return undefined;
  const team = teamOf(features, threads);
  const numRows = unit * slots.length;
  // Few workgroups are joined: each has to wait for those of another step.
  const isJoined = features.joinThreads !== undefined;
  const shape: Shape =
    isShared && !isJoined
      ? { lanes: threads, ahead: slots.length === 1 ? 2 : 1 }
      : { lanes: team.size, ahead: slots.length === 1 ? 4 : 2 };
  const { lanes } = shape;
  const sums = [...numbered("sum", M * numRows), ...(norm === "rms" ? numbered("square", M) : [])];
  const weight = (row: number) => slots[Math.floor(row / unit)]?.weight ?? "";
  const first = slots[0]?.weight ?? "";
  const loop = { M, numRows, norm, dtype, weight };
  return {
    enable: team.enable,
    declarations: [
      team.declarations,
      dotFunction(dtype),
      `var<workgroup> totals: array<f32, ${(threads / team.size) * maxTotals}>;`,
    ],
    tiles: threads / lanes,
    body: `  let lane = thread % ${lanes}u;
  let tile = firstTile + thread / ${lanes}u;
${each(slots.length, (s) => `  let unit${s} = ${slots[s]?.unit};`)}
${each(numRows, (r) => `  let row${r} = min(unit${Math.floor(r / unit)} * ${unit}u + ${r % unit}u, P.${weight(r)}_N - 1u) * P.${weight(r)}_chunks;`)}
${each(sums.length, (i) => `  var ${sums[i]} = 0.0;`)}
  var c = lane;
${isJoined ? aheadLoop(loop, { first, shape }) : sumLoop(loop, { first, shape })}
${team.sum(sums)}
${lanes > team.size ? acrossTeams({ M, numRows, sums, norm }, { size: team.size, threads }) : ownResults({ M, numRows, norm }, lanes)}
${task.epilogue(threads / lanes)}`,
  };
}

/** Goes through a row, some chunks at a time. */
function sumLoop(loop: Loop, { first, shape }: { readonly first: string; readonly shape: Shape }): string {
  const { lanes, ahead } = shape;
  const rest = `  for (; c < P.${first}_chunks; c += ${lanes}u) {
${loads(loop, { lanes, u: 0 })}
${sumsOf(loop, { lanes, u: 0 })}
  }`;
  return `  for (; c + ${(ahead - 1) * lanes}u < P.${first}_chunks; c += ${ahead * lanes}u) {
${each(ahead, (u) => loads(loop, { lanes, u }))}
${each(ahead, (u) => sumsOf(loop, { lanes, u }))}
  }
${ahead === 1 ? "" : rest}`;
}

/** The same with the weights of each turn requested before those of the turn before are used, and the first before x is looked at. */
function aheadLoop(loop: Loop, { first, shape }: { readonly first: string; readonly shape: Shape }): string {
  const { lanes, ahead } = shape;
  const request = each(ahead, (u) => loads(loop, { lanes, u, last: `P.${first}_chunks - 1u` }));
  return `${each(ahead, (u) => each(loop.numRows, (r) => `  var w${u}_${r}: vec4u;`))}
${request}
${waitsHere}
  for (; c < P.${first}_chunks; c += ${ahead * lanes}u) {
${each(ahead, (u) => `    ${u === 0 ? "" : `if (c + ${u * lanes}u < P.${first}_chunks) `}{\n${sumsOf(loop, { lanes, u })}\n    }`)}
    if (c + ${ahead * lanes}u < P.${first}_chunks) {
${each(ahead, (u) => loads(loop, { lanes, u: u + ahead, into: u, last: `P.${first}_chunks - 1u` }))}
    }
  }`;
}

interface Loop {
  readonly M: number;
  readonly numRows: number;
  readonly norm: ProductTask["norm"];
  readonly dtype: DType;
  weight(row: number): string;
}

/** Requests chunk c + u lanes of each row of the weights; with `last`, into variables that are there, and none behind it. */
function loads(
  { numRows, weight }: Loop,
  {
    lanes,
    u,
    into = u,
    last,
  }: { readonly lanes: number; readonly u: number; readonly into?: number; readonly last?: string },
): string {
  const at = last === undefined ? `c + ${u * lanes}u` : `min(c + ${u * lanes}u, ${last})`;
  const declare = last === undefined ? "let " : "";
  return each(numRows, (r) => `    ${declare}w${into}_${r} = ${weight(r)}_w[row${r} + ${at}];`);
}

/** Adds the products of that chunk. */
function sumsOf(
  { M, numRows, norm, dtype }: Loop,
  { lanes, u }: { readonly lanes: number; readonly u: number },
): string {
  const at = `c + ${u * lanes}u`;
  const isWide = isHalf(dtype);
  const gained = isWide ? "Eight(x.low * g.low, x.high * g.high)" : "x * g";
  const square = isWide ? "dot(x.low, x.low) + dot(x.high, x.high)" : "dot(x, x)";
  const rows = each(
    M,
    (m) => `      { let x = x_at(${m}u, ${at});
${norm === "rms" ? `        square${m} += ${square};\n        let v = ${gained};` : "        let v = x;"}
${each(numRows, (r) => `        sum${m * numRows + r} += dot_${dtype}(v, w${u}_${r});`)} }`,
  );
  return `    {${norm === "rms" ? ` let g = gain_at(${at});` : ""}\n${rows}\n    }`;
}

/** The norm's scale of a row from the sum of its squares. */
const rowScale = (squares: string) => `inverseSqrt(${squares} / P.columns + P.eps)`;

/** Where the sum of row m of x and row r of the weights belongs among the results of a tile. */
const placeOf = (m: string, r: string, M: number) =>
  `((${r} / ${unit}u) * ${M}u + ${m}) * ${unit}u + ${r} % ${unit}u`;

/** Adds up the sums of all teams of the workgroup, a thread each. */
function acrossTeams(
  {
    M,
    numRows,
    sums,
    norm,
  }: {
    readonly M: number;
    readonly numRows: number;
    readonly sums: readonly string[];
    readonly norm: string;
  },
  { size: teamSize, threads }: { readonly size: number; readonly threads: number },
): string {
  const teams = threads / teamSize;
  const numSums = M * numRows;
  return `  if (thread % ${teamSize}u == 0u) {
${each(sums.length, (i) => `    totals[${i * teams}u + thread / ${teamSize}u] = ${sums[i]};`)}
  }
  workgroupBarrier();
  if (thread < ${numSums}u) {
    let m = thread / ${numRows}u;
    let r = thread % ${numRows}u;
    var total = 0.0;
    for (var t = 0u; t < ${teams}u; t++) { total += totals[thread * ${teams}u + t]; }
${
  norm === "rms"
    ? `    var squares = 0.0;
    for (var t = 0u; t < ${teams}u; t++) { squares += totals[(${numSums}u + m) * ${teams}u + t]; }
    total *= ${rowScale("squares")};`
    : ""
}
    results[${placeOf("m", "r", M)}] = total;
  }`;
}

/** Each team has the sums of its own tile. */
function ownResults(
  { M, numRows, norm }: { readonly M: number; readonly numRows: number; readonly norm: string },
  lanes: number,
): string {
  const store = (i: number) => {
    const [m, r] = [Math.floor(i / numRows), i % numRows];
    const place = (Math.floor(r / unit) * M + m) * unit + (r % unit);
    const scale = norm === "rms" ? ` * ${rowScale(`square${m}`)}` : "";
    return `    results[(thread / ${lanes}u) * ${M * numRows}u + ${place}u] = sum${i}${scale};`;
  };
  return `  if (lane == 0u) {\n${each(M * numRows, store)}\n  }`;
}

/** Units of a tile at most. */
const maxSlots = 2;
/** Sums of all rows of x and of a tile, and the squares of the rows. */
const maxTotals = maxProductRows * maxSlots * unit + maxProductRows;

function dotFunction(dtype: DType): string {
  if (dtype === "f32") return "fn dot_f32(v: vec4f, q: vec4u) -> f32 { return dot(v, bitcast<vec4f>(q)); }";
  return `fn dot_${dtype}(v: Eight, q: vec4u) -> f32 {
  return dot(v.low, ${widened(dtype, "q", ["x", "y"])}) + dot(v.high, ${widened(dtype, "q", ["z", "w"])});
}`;
}

/** Four half floats of two words as vec4f. */
export function widened(dtype: DType, name: string, [first, second]: readonly [string, string]): string {
  const [a, b] = [`${name}.${first}`, `${name}.${second}`];
  if (dtype === "f16") return `vec4f(unpack2x16float(${a}), unpack2x16float(${b}))`;
  return `bitcast<vec4f>(vec4u(${a} << 16u, ${a} & 0xffff0000u, ${b} << 16u, ${b} & 0xffff0000u))`;
}
