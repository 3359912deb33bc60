import type { DType } from "../../dtype.js";
import { sizeOf } from "../../shape.js";
import { lanesOf } from "../dtype.js";
import type { WgslStep } from "../kernel.js";
import { bufferAt } from "../step.js";
import { offsetCode } from "../strides.js";
import type { MatmulCall } from "./matmul-call.js";
import {
  type FloatSource,
  type FloatTarget,
  floatPlace,
  floatProductStep,
  floatThreads,
  type RegisterTiling,
} from "./register-tiles.js";
import { each } from "./team.js";

const largeTiling: RegisterTiling = {
  rows: 128,
  columns: 128,
  depth: 8,
  threadRows: 8,
  threadColumns: 8,
  padding: 4,
  band: 8,
  unroll: 8,
};
const smallTiling: RegisterTiling = {
  ...largeTiling,
  rows: 64,
  columns: 64,
  depth: 16,
  threadRows: 4,
  threadColumns: 4,
  unroll: 4,
};
/** With fewer large tiles than this, small ones keep more of the adapter busy. */
const manyTiles = 96;

/** Large tiles where the product has many of them. */
export function registerTilingOf(M: number, N: number, count = 1): RegisterTiling {
  const tiles = Math.ceil(M / largeTiling.rows) * Math.ceil(N / largeTiling.columns) * count;
  return tiles >= manyTiles ? largeTiling : smallTiling;
}

/** Any float product in f32, four elements at a time where the dense axes are multiples of four. Twin: matmul's loops. */
export function tiledMatmulStep(call: MatmulCall, tiling?: RegisterTiling): WgslStep {
  const { M, N, K, batch, batchStridesA, batchStridesB, transposeA, transposeB, dtypes } = call;
  const walk = offsetCode({ shape: batch, strides: [batchStridesA, batchStridesB] }, "batch", "w");
  const [fromA = "0u", fromB = "0u"] = walk.offsets;
  const chosen = tiling ?? registerTilingOf(M, N, sizeOf(batch));
  const a = { name: "a", index: 0, dtype: dtypes.a, isDenseK: !transposeA, edge: M, K } as const;
  const b = { name: "b", index: 1, dtype: dtypes.b, isDenseK: transposeB, edge: N, K } as const;
  return floatProductStep({
    M,
    N,
    K,
    count: sizeOf(batch),
    tiling: chosen,
    left: tensorSource({ ...a, from: fromA, strides: batchStridesA }, chosen),
    right: tensorSource({ ...b, from: fromB, strides: batchStridesB }, chosen),
    target: floatTarget(2, dtypes.c, N),
    params: walk.params,
    setup: walk.code,
  });
}

export interface TensorOperand {
  readonly name: "a" | "b";
  readonly index: number;
  readonly dtype: DType;
  readonly isDenseK: boolean;
  readonly edge: number;
  readonly K: number;
  readonly from: string;
  readonly strides: readonly number[];
}

/** Reads tiles of a tensor: four elements at a time where its rows allow. */
export function tensorSource(operand: TensorOperand, tiling: RegisterTiling): FloatSource {
  const { name, index, dtype, isDenseK, edge, K, from, strides } = operand;
  const { depth } = tiling;
  const threads = floatThreads(tiling);
  const [tile, tileEdge] =
    name === "a" ? (["tileA", tiling.rows] as const) : (["tileB", tiling.columns] as const);
  const lanes = [isDenseK ? K : edge, ...strides].every((length) => length % 4 === 0) ? 4 : 1;
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
  const place = (base: string, k: string, at: string) => floatPlace(tile, tiling, { base, k, at });
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
    buffers: [
      {
        name,
        memory: bufferAt(index),
        dtype,
        access: "read",
        ...(lanes === 4 ? { element: vectorType(dtype) } : {}),
      },
    ],
    params: { [`${name}Row`]: (isDenseK ? K : edge) / lanes, [`${name}Edge`]: edge },
    declarations:
      lanes === 4
        ? `fn read_${name}(at: u32) -> vec4f { let word = ${name}[at]; return ${widened(dtype)}; }`
        : `fn read_${name}(at: u32) -> f32 { return load_${name}(at); }`,
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

/** Stores sums in rows of N elements of the launch's last tensor. */
export function floatTarget(index: number, dtype: DType, N: number): FloatTarget {
  const base = { name: "c", memory: bufferAt(index), dtype } as const;
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
