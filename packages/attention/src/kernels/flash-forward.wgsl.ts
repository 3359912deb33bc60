import { each, type WgslKernelFactory, wgslStep } from "@heddle/tensor/kernel";
import { type FlashParams, type FlashShape, flashInputs, flashShape } from "../flash-params.js";
import {
  flashUniforms,
  loadVectors,
  ruleBuffers,
  ruleFunctions,
  threads,
  vectorBuffer,
  vectorsOf,
  writeBuffer,
} from "./flash.wgsl.js";
import { flashMatrixWgsl } from "./flash-matrix.wgsl.js";
import { tileStates } from "./tile-states.wgsl.js";

/** Threads on both sides of a tile: 16 share its queries, 8 its keys and the features of values. */
export const queryThreads = 16;
export const keyThreads = threads / queryThreads;

/** How many queries and keys of a tile each thread has: query `tq + 16 r`, key `tk + 8 n`. */
export interface Share {
  readonly queries: 1 | 2 | 4;
  readonly keys: 4;
}

export interface Layout extends Share {
  readonly tile: { readonly queries: number; readonly keys: number };
  /** Vectors of four of a row, and of a row in workgroup memory: one more, so that rows fall on different banks. */
  readonly headVectors: number;
  readonly valueVectors: number;
  readonly rowStride: number;
  readonly weightStride: number;
}

export function layoutOf(
  { headDim, valueDim }: Pick<FlashShape, "headDim" | "valueDim">,
  share: Share,
): Layout {
  const tile = { queries: queryThreads * share.queries, keys: keyThreads * share.keys };
  const [headVectors, valueVectors] = [vectorsOf(headDim), vectorsOf(valueDim)];
  const rowStride = Math.max(headVectors, valueVectors) + 1;
  return { ...share, tile, headVectors, valueVectors, rowStride, weightStride: tile.keys / 4 + 1 };
}

/** Workgroup memory of `scores`, `weights` and `addValues`: queries, rows of keys or values, weights, and the rows' largest scores. */
export function tileMemory({ tile, headVectors, rowStride, weightStride }: Layout): string {
  return `var<workgroup> tQuery: array<vec4f, ${tile.queries * (headVectors + 1)}>;
var<workgroup> tRows: array<vec4f, ${tile.keys * rowStride}>;
var<workgroup> tWeight: array<vec4f, ${tile.queries * weightStride}>;
var<workgroup> tMost: array<f32, ${tile.queries * keyThreads}>;`;
}

/** Bytes of `tileMemory`. */
export function bytesOf({ tile, headVectors, rowStride, weightStride }: Layout): number {
  const vectors = tile.queries * (headVectors + 1) + tile.keys * rowStride + tile.queries * weightStride;
  return 16 * vectors + 4 * tile.queries * keyThreads;
}

/**
 * WGSL kernel of `flashAttention` for f32; f16 is for matrix units. A workgroup takes a tile of queries of one head through the tiles of keys, with a running softmax; each thread keeps a few queries times a few keys in
 * registers. Tiles without a seen pair are skipped.
 *
 * @see Dao 2023, FlashAttention-2, arXiv:2307.08691, algorithm 1. Twin: `naiveAttention`.
 */
export const flashForwardWgsl: WgslKernelFactory<FlashParams> = (call, features) => {
  const { inputs, params } = call;
  if (inputs[0]?.dtype === "f16") return flashMatrixWgsl(call, features);
  if (inputs.slice(0, 3).some(({ dtype }) => dtype !== "f32") || params.countsTiles) return undefined;
  const shape = flashShape(inputs);
  const at = flashInputs(params);
  const layout = ([4, 2, 1] as const)
    .filter((queries) => queries === 1 || shape.queryLen > (queryThreads * queries) / 2)
    .map((queries) => layoutOf(shape, { queries, keys: 4 }))
    .find((choice) => bytesOf(choice) <= features.maxWorkgroupBytes);
  if (layout === undefined || at.count + 3 > features.maxBuffers) return undefined;
  const states = tileStates({ inputs, params, shape }, layout.tile);
  const tiles = Math.ceil(shape.queryLen / layout.tile.queries);
  const step = wgslStep({
    buffers: [
      vectorBuffer("query", 0, shape.headDim),
      vectorBuffer("key", 1, shape.headDim),
      vectorBuffer("value", 2, shape.valueDim),
      ...ruleBuffers(inputs, params),
      ...states.buffers,
      writeBuffer("out", at.count),
      writeBuffer("lse", at.count + 1),
    ],
    params: { ...flashUniforms(shape, params, inputs), ...states.params, tiles },
    threads,
    groups: shape.batch * shape.numHeads * tiles,
    declarations: `${ruleFunctions(params)}
${states.functions}
${tileMemory(layout)}`,
    body: forwardBody(shape, params, layout),
  });
  return { steps: [...states.steps, step], scratch: states.scratch };
};

function forwardBody(shape: FlashShape, params: FlashParams, layout: Layout): string {
  const { tile, queries, headVectors, valueVectors, rowStride } = layout;
  const columns = Math.ceil(valueVectors / keyThreads);
  const row = (r: number) => `tq + ${r * queryThreads}u`;
  const sums = (line: (name: string, r: number, n: number) => string) =>
    each(queries, (r) => each(columns, (n) => line(`sum${r}_${n}`, r, n)));
  return `  let heads = P.batch * P.numHeads;
  let tile = P.tiles - 1u - group / heads; // under causal masks the last tiles have the most work
  let h = group % heads % P.numHeads;
  let b = group % heads / P.numHeads;
  let first = tile * ${tile.queries}u;
  let queryBase = (b * P.numHeads + h) * P.queryLen;
  let keyBase = (b * (P.numHeads / P.group) + h / P.group) * P.keyLen;
  let tq = thread / ${keyThreads}u;
  let tk = thread % ${keyThreads}u;
${loadVectors({ target: "tQuery", source: "query", rows: tile.queries, width: shape.headDim, stride: headVectors + 1, first: "first", limit: "P.queryLen", base: "queryBase" })}
${sums((name) => `  var ${name} = vec4f();`)}
${each(queries, (r) => `  var most${r} = ${params.hasSinks ? "load_sinks(h)" : "-1e30"};\n  var total${r} = ${params.hasSinks ? "select(0.0, 1.0, tk == 0u)" : "0.0"};`)}
  for (var keyTile = nextTile(b, h, tile, 0u); keyTile < P.keyTiles; keyTile = nextTile(b, h, tile, keyTile + 1u)) {
    let firstKey = keyTile * ${tile.keys}u;
    let isWhole = tileState(b, h, tile, keyTile) == 2u;
    workgroupBarrier();
${loadVectors({ target: "tRows", source: "key", rows: tile.keys, width: shape.headDim, stride: rowStride, first: "firstKey", limit: "P.keyLen", base: "keyBase" })}
    workgroupBarrier();
${scores(layout)}
    workgroupBarrier();
${weights(layout, sums)}
${loadVectors({ target: "tRows", source: "value", rows: tile.keys, width: shape.valueDim, stride: rowStride, first: "firstKey", limit: "P.keyLen", base: "keyBase" })}
    workgroupBarrier();
${addValues(layout, columns)}
  }
${each(queries, (r) => `  tMost[(${row(r)}) * ${keyThreads}u + tk] = total${r};`)}
  workgroupBarrier();
${each(
  queries,
  (r) => `  {
    let i = first + ${row(r)};
    if (i < P.queryLen) {
      var total = 0.0;
      for (var k = 0u; k < ${keyThreads}u; k++) { total += tMost[(${row(r)}) * ${keyThreads}u + k]; }
      let factor = select(1.0 / total, 0.0, total == 0.0);
      if (tk == 0u) { store_lse(queryBase + i, select(most${r} + log(total), -h_infinity(), total == 0.0)); }
${each(columns, (n) => storeVector(`sum${r}_${n} * factor`, `(tk + ${n * keyThreads}u) * 4u`, shape.valueDim))}
    }
  }`,
)}`;
}

/** Scores of the thread's pairs, s R_N, and the largest of each of its rows to `tMost`. */
export function scores({ queries, keys, headVectors, rowStride }: Layout): string {
  const pairs = (line: (r: number, n: number) => string) =>
    each(queries, (r) => each(keys, (n) => line(r, n)));
  return `${pairs((r, n) => `    var s${r}_${n} = 0.0;`)}
    for (var c = 0u; c < ${headVectors}u; c++) {
${each(queries, (r) => `      let q${r} = tQuery[(tq + ${r * queryThreads}u) * ${headVectors + 1}u + c];`)}
${each(keys, (n) => `      let k${n} = tRows[(tk + ${n * keyThreads}u) * ${rowStride}u + c];`)}
${pairs((r, n) => `      s${r}_${n} += dot(q${r}, k${n});`)}
    }
    var seen = ${2 ** (queries * keys) - 1}u; // bit r ${keys} + n
    if (!isWhole) {
      seen = 0u;
      for (var e = 0u; e < ${queries * keys}u; e++) {
        let isOne = isSeen(b, h, first + tq + e / ${keys}u * ${queryThreads}u, firstKey + tk + e % ${keys}u * ${keyThreads}u);
        seen |= select(0u, 1u << e, isOne);
      }
    }
${pairs((r, n) => `    s${r}_${n} = select(-1e30, score(b, h, first + tq + ${r * queryThreads}u, firstKey + tk + ${n * keyThreads}u, s${r}_${n}), (seen & ${2 ** (r * keys + n)}u) != 0u);`)}
${each(
  queries,
  (r) =>
    `    tMost[(tq + ${r * queryThreads}u) * ${keyThreads}u + tk] = ${Array.from({ length: keys }, (_, n) => `s${r}_${n}`).reduce((a, c) => `h_max(${a}, ${c})`)};`,
)}`;
}

/** Scores become weights in `tWeight`; sums and totals shrink as their row's maximum grows. */
export function weights(
  { queries, keys, weightStride }: Layout,
  sums: (line: (name: string, r: number) => string) => string,
): string {
  return `${each(
    queries,
    (r) => `    var next${r} = most${r};
    for (var k = 0u; k < ${keyThreads}u; k++) { next${r} = h_max(next${r}, tMost[(tq + ${r * queryThreads}u) * ${keyThreads}u + k]); }
    let kept${r} = exp(most${r} - next${r});
    most${r} = next${r};
    total${r} *= kept${r};
${each(
  keys,
  (n) => `    { let w = select(exp(s${r}_${n} - next${r}), 0.0, s${r}_${n} <= -1e30);
      total${r} += w;
      let j = tk + ${n * keyThreads}u;
      tWeight[(tq + ${r * queryThreads}u) * ${weightStride}u + j / 4u][j % 4u] = w; }`,
)}`,
  )}
${sums((name, r) => `    ${name} *= kept${r};`)}`;
}

export function addValues(
  { queries, tile, weightStride, rowStride, valueVectors }: Layout,
  columns: number,
): string {
  const rows = { name: "tRows", stride: rowStride, vectors: valueVectors };
  const weights = { name: "tWeight", stride: weightStride, rows: tile.queries };
  return addRows("sum", { weights, rows, inner: tile.keys, shares: { queries, columns } });
}

/**
 * Statements that add products of `weights` [rows, inner] and `rows` [inner, vectors], both vectors of four in workgroup memory, to the
 * thread's sums SUM R_N: row `tq + 16 R`, vector `tk + 8 N`.
 */
export function addRows(
  sum: string,
  {
    weights,
    rows,
    inner,
    shares: { queries, columns },
  }: {
    /** From vector `from` on, default 0. */
    readonly weights: {
      readonly name: string;
      readonly from?: number;
      readonly stride: number;
      readonly rows: number;
    };
    readonly rows: { readonly name: string; readonly stride: number; readonly vectors: number };
    readonly inner: number;
    readonly shares: { readonly queries: number; readonly columns: number };
  },
): string {
  const row = (r: number) => {
    const at = `tq + ${r * queryThreads}u`;
    return (r + 1) * queryThreads > weights.rows ? `min(${at}, ${weights.rows - 1}u)` : `(${at})`;
  };
  return `    for (var j = 0u; j < ${inner / 4}u; j++) {
${each(queries, (r) => `      let w${r} = ${weights.name}[${weights.from ?? 0}u + ${row(r)} * ${weights.stride}u + j];`)}
${each(columns, (n) => {
  const isPartial = (n + 1) * keyThreads > rows.vectors;
  return `      ${isPartial ? `if (tk + ${n * keyThreads}u < ${rows.vectors}u) ` : ""}{
${each(4, (lane) => `        let v${lane} = ${rows.name}[(j * 4u + ${lane}u) * ${rows.stride}u + tk + ${n * keyThreads}u];`)}
${each(queries, (r) => `        ${sum}${r}_${n} += w${r}.x * v0 + w${r}.y * v1 + w${r}.z * v2 + w${r}.w * v3;`)}
      }`;
})}
    }`;
}

/** Stores those of four features that exist. */
function storeVector(value: string, column: string, width: number): string {
  return `      { let x = ${value}; let c = ${column}; let at = (queryBase + i) * ${width}u + c;
${each(4, (lane) => `        if (c + ${lane}u < ${width}u) { store_out(at + ${lane}u, x[${lane}]); }`)} }`;
}
