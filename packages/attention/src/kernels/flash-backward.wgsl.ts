import type { TensorType } from "@heddle/tensor";
import { each, type WgslKernelFactory, type WgslStep, wgslStep } from "@heddle/tensor/kernel";
import { type FlashBackwardParams, type FlashShape, flashInputs, flashShape } from "../flash-params.js";
import {
  flashUniforms,
  loadVectors,
  readBuffer,
  ruleBuffers,
  ruleFunctions,
  threads,
  vectorBuffer,
  vectorsOf,
  writeBuffer,
} from "./flash.wgsl.js";
import { addRows, keyThreads, queryThreads } from "./flash-forward.wgsl.js";
import { type TileStates, tileStates } from "./tile-states.wgsl.js";

/** Queries and keys of a workgroup's tile; rows of vectors of four in workgroup memory, one more than needed, for its banks. */
interface Tile {
  readonly queries: number;
  readonly keys: number;
  readonly headVectors: number;
  readonly valueVectors: number;
}

const sizes = [
  [32, 32],
  [32, 16],
  [16, 16],
  [16, 8],
  [8, 8],
  [4, 4],
] as const;

/** Strides of weights [queries, keys] and of transposed ones. */
const weightStride = ({ keys }: Tile) => keys / 4 + 1;
const turnedStride = ({ queries }: Tile) => queries / 4 + 1;
/** Vectors of the larger of what both steps keep of weights. */
const weightVectors = (tile: Tile) =>
  Math.max(tile.queries * weightStride(tile), 2 * tile.keys * turnedStride(tile));

function bytesOf(tile: Tile): number {
  const { queries, keys, headVectors, valueVectors } = tile;
  const vectors = (queries + keys) * (headVectors + valueVectors + 2) + weightVectors(tile);
  return 16 * vectors + 8 * queries + 64;
}

/**
 * WGSL kernels of the gradient of `flashAttention` for f32: one step for queries (and bias), one for keys and values; weights are
 * computed again from the stored log-sum-exp. Each thread keeps a few queries times a few keys, and its sums, in registers. No two
 * workgroups write to one element.
 *
 * @see Dao 2023, FlashAttention-2, arXiv:2307.08691, algorithm 2. Twin: `reference` of `flashAttentionBackward`.
 */
export const flashBackwardWgsl: WgslKernelFactory<FlashBackwardParams> = ({ inputs, params }, features) => {
  if (inputs.slice(0, 3).some(({ dtype }) => dtype !== "f32")) return undefined;
  // Workgroups share distances, and WGSL adds no floats atomically.
  if (params.wantsDistanceBias === true) return undefined;
  const shape = flashShape(inputs);
  const [headVectors, valueVectors] = [vectorsOf(shape.headDim), vectorsOf(shape.valueDim)];
  const tile = sizes
    .map(([queries, keys]) => ({ queries, keys, headVectors, valueVectors }))
    .find((choice) => bytesOf(choice) <= features.maxWorkgroupBytes);
  const count = flashInputs({ ...params, hasSinks: false }).count + 3;
  // Each step reads all inputs and writes two gradients at most.
  if (tile === undefined || count + 3 > features.maxBuffers) return undefined;
  const states = tileStates({ inputs, params: { ...params, hasSinks: false }, shape }, tile);
  const step = { inputs, params, shape, tile, count, states };
  return { steps: [...states.steps, queryStep(step), keyStep(step)], scratch: states.scratch };
};

interface BackwardCall {
  readonly inputs: readonly TensorType[];
  readonly params: FlashBackwardParams;
  readonly shape: FlashShape;
  readonly tile: Tile;
  /** Number of inputs: the outputs follow. */
  readonly count: number;
  readonly states: TileStates;
}

function backwardStep(
  { inputs, params, shape, tile, count, states }: BackwardCall,
  step: {
    readonly outputs: readonly { readonly name: string; readonly index: number }[];
    readonly tiles: number;
    readonly groups: number;
    readonly body: string;
  },
): WgslStep {
  const { headDim, valueDim } = shape;
  const rules = { ...params, hasSinks: false };
  const { queries, keys, headVectors, valueVectors } = tile;
  return wgslStep({
    buffers: [
      vectorBuffer("query", 0, headDim),
      vectorBuffer("key", 1, headDim),
      vectorBuffer("value", 2, valueDim),
      ...ruleBuffers(inputs, rules),
      ...states.buffers,
      readBuffer("lse", count - 3),
      readBuffer("delta", count - 2),
      vectorBuffer("dOut", count - 1, valueDim),
      ...step.outputs.map(({ name, index }) => writeBuffer(name, count + index)),
    ],
    params: {
      ...flashUniforms(shape, params, inputs),
      ...states.params,
      tiles: step.tiles,
    },
    threads,
    groups: step.groups,
    declarations: `${ruleFunctions(rules)}
${states.functions}
var<workgroup> tQuery: array<vec4f, ${queries * (headVectors + 1)}>;
var<workgroup> tDOut: array<vec4f, ${queries * (valueVectors + 1)}>;
var<workgroup> tKey: array<vec4f, ${keys * (headVectors + 1)}>;
var<workgroup> tValue: array<vec4f, ${keys * (valueVectors + 1)}>;
var<workgroup> tWeight: array<vec4f, ${weightVectors(tile)}>;
var<workgroup> rowLse: array<f32, ${queries}>;
var<workgroup> rowDelta: array<f32, ${queries}>;`,
    body: `  let tq = thread / ${keyThreads}u;
  let tk = thread % ${keyThreads}u;
${step.body}`,
  });
}

function loadQueries({ shape, tile }: BackwardCall): string {
  const { headDim, valueDim } = shape;
  const common = { rows: tile.queries, first: "first", limit: "P.queryLen", base: "queryBase" };
  return `${loadVectors({ ...common, target: "tQuery", source: "query", width: headDim, stride: tile.headVectors + 1 })}
${loadVectors({ ...common, target: "tDOut", source: "dOut", width: valueDim, stride: tile.valueVectors + 1 })}
    if (thread < ${tile.queries}u) {
      let isOne = first + thread < P.queryLen;
      let at = queryBase + min(first + thread, P.queryLen - 1u);
      rowLse[thread] = select(1e30, load_lse(at), isOne);
      rowDelta[thread] = select(0.0, load_delta(at), isOne);
    }`;
}

function loadKeys({ shape, tile }: BackwardCall): string {
  const { headDim, valueDim } = shape;
  const common = { rows: tile.keys, first: "firstKey", limit: "P.keyLen", base: "keyBase" };
  return `${loadVectors({ ...common, target: "tKey", source: "key", width: headDim, stride: tile.headVectors + 1 })}
${loadVectors({ ...common, target: "tValue", source: "value", width: valueDim, stride: tile.valueVectors + 1 })}`;
}

/** How the gradients of a tile's scores are kept: as [queries, keys], or both they and the weights as [keys, queries]. */
type Kept = "scores" | "turned";

/** Weights and gradients of scores of the thread's pairs, query `tq + 16 r` and key `tk + 8 n`, to `tWeight`. */
function tileGradients({ tile, params }: BackwardCall, kept: Kept): string {
  const { queries, keys, headVectors, valueVectors } = tile;
  const [high, wide] = [Math.ceil(queries / queryThreads), Math.ceil(keys / keyThreads)];
  const pairs = (line: (r: number, n: number) => string) => each(high, (r) => each(wide, (n) => line(r, n)));
  const row = (r: number) => `(tq + ${r * queryThreads}u)`;
  const column = (n: number) => `(tk + ${n * keyThreads}u)`;
  const dots = (sum: string, [a, b]: readonly [string, string], vectors: number) =>
    `    for (var c = 0u; c < ${vectors}u; c++) {
${each(high, (r) => `      let a${r} = ${a}[${row(r)} * ${vectors + 1}u + c];`)}
${each(wide, (n) => `      let b${n} = ${b}[${column(n)} * ${vectors + 1}u + c];`)}
${pairs((r, n) => `      ${sum}${r}_${n} += dot(a${r}, b${n});`)}
    }`;
  const keep = (r: number, n: number) =>
    kept === "scores"
      ? `tWeight[${row(r)} * ${weightStride(tile)}u + ${column(n)} / 4u][${column(n)} % 4u] = dScore;`
      : `let at = ${column(n)} * ${turnedStride(tile)}u + ${row(r)} / 4u;
        tWeight[at][${row(r)} % 4u] = weight;
        tWeight[${keys * turnedStride(tile)}u + at][${row(r)} % 4u] = dScore;`;
  const isPartial = queries < queryThreads || keys < keyThreads;
  const storesBias = params.wantsBias && kept === "scores";
  return `    ${isPartial ? `if (tq < ${queries}u && tk < ${keys}u) ` : ""}{
${pairs((r, n) => `    var s${r}_${n} = 0.0; var g${r}_${n} = 0.0;`)}
${dots("s", ["tQuery", "tKey"], headVectors)}
${dots("g", ["tDOut", "tValue"], valueVectors)}
    var seen = ${2 ** (high * wide) - 1}u; // bit r ${wide} + n
    if (!isWhole) {
      seen = 0u;
      for (var e = 0u; e < ${high * wide}u; e++) {
        let isOne = isSeen(b, h, first + tq + e / ${wide}u * ${queryThreads}u, firstKey + tk + e % ${wide}u * ${keyThreads}u);
        seen |= select(0u, 1u << e, isOne);
      }
    }
${pairs(
  (r, n) => `    {
        let i = first + ${row(r)};
        let j = firstKey + ${column(n)};
        var weight = 0.0;
        var dScore = 0.0;
        if (i < P.queryLen && (seen & ${2 ** (r * wide + n)}u) != 0u) {
          weight = exp(score(b, h, i, j, s${r}_${n}) - rowLse[${row(r)}]);
          let dBiased = weight * (g${r}_${n} - rowDelta[${row(r)}]);
          ${storesBias ? "store_dBias((queryBase + i) * P.keyLen + j, dBiased);" : ""}
          dScore = dBiased * slope(s${r}_${n}) * P.scale;
        }
        ${keep(r, n)}
    }`,
)}
    }`;
}

/** Sums of rows, `count` of them, of `vectors` vectors: how many each thread has, their declaration and their way out. */
function sumsOf(
  name: string,
  { count, width, output }: { readonly count: number; readonly width: number; readonly output: string },
) {
  const vectors = vectorsOf(width);
  const shares = { queries: Math.ceil(count / queryThreads), columns: Math.ceil(vectors / keyThreads) };
  const all = (line: (r: number, n: number) => string) =>
    each(shares.queries, (r) => each(shares.columns, (n) => line(r, n)));
  const store = (r: number, n: number) => `  {
    let row = tq + ${r * queryThreads}u;
    let c = (tk + ${n * keyThreads}u) * 4u;
    if (row < ${count}u && start + row < limit) {
      let at = (base + start + row) * ${width}u + c;
${each(4, (lane) => `      if (c + ${lane}u < ${width}u) { store_${output}(at + ${lane}u, ${name}${r}_${n}[${lane}]); }`)}
    }
  }`;
  return { shares, declared: all((r, n) => `  var ${name}${r}_${n} = vec4f();`), stored: all(store) };
}

/** dQuery = sum over keys of dScore key. */
function queryStep(call: BackwardCall): WgslStep {
  const { shape, params, tile } = call;
  const { queries, keys, headVectors } = tile;
  const tiles = Math.ceil(shape.queryLen / queries);
  const sums = sumsOf("sum", { count: queries, width: shape.headDim, output: "dQuery" });
  const zeroBias = `for (var e = thread; e < ${queries}u * P.keyLen; e += ${threads}u) {
    let i = first + e / P.keyLen;
    if (i < P.queryLen) { store_dBias((queryBase + i) * P.keyLen + e % P.keyLen, 0.0); }
  }
  storageBarrier();`;
  return backwardStep(call, {
    outputs: [{ name: "dQuery", index: 0 }, ...(params.wantsBias ? [{ name: "dBias", index: 3 }] : [])],
    tiles,
    groups: shape.batch * shape.numHeads * tiles,
    body: `  let h = (group / P.tiles) % P.numHeads;
  let b = group / (P.tiles * P.numHeads);
  let tile = P.tiles - 1u - group % P.tiles; // under causal masks the last tiles have the most work
  let first = tile * ${queries}u;
  let queryBase = (b * P.numHeads + h) * P.queryLen;
  let keyBase = (b * (P.numHeads / P.group) + h / P.group) * P.keyLen;
${sums.declared}
  ${params.wantsBias ? zeroBias : ""}
${loadQueries(call)}
  for (var keyTile = nextTile(b, h, tile, 0u); keyTile < P.keyTiles; keyTile = nextTile(b, h, tile, keyTile + 1u)) {
    let firstKey = keyTile * ${keys}u;
    let isWhole = tileState(b, h, tile, keyTile) == 2u;
    workgroupBarrier();
${loadKeys(call)}
    workgroupBarrier();
${tileGradients(call, "scores")}
    workgroupBarrier();
${addRows("sum", {
  weights: { name: "tWeight", stride: weightStride(tile), rows: queries },
  rows: { name: "tKey", stride: headVectors + 1, vectors: headVectors },
  inner: keys,
  shares: sums.shares,
})}
  }
  let start = first;
  let limit = P.queryLen;
  let base = queryBase;
${sums.stored}`,
  });
}

/** dKey = sum over the queries of a group's heads of dScore query, dValue = sum of weight dOut. */
function keyStep(call: BackwardCall): WgslStep {
  const { shape, tile } = call;
  const { queries, keys, headVectors, valueVectors } = tile;
  const tiles = Math.ceil(shape.keyLen / keys);
  const dKey = sumsOf("dk", { count: keys, width: shape.headDim, output: "dKey" });
  const dValue = sumsOf("dv", { count: keys, width: shape.valueDim, output: "dValue" });
  return backwardStep(call, {
    outputs: [
      { name: "dKey", index: 1 },
      { name: "dValue", index: 2 },
    ],
    tiles,
    groups: shape.batch * shape.numKvHeads * tiles,
    body: `  let kvHeads = P.numHeads / P.group;
  let kvHead = (group / P.tiles) % kvHeads;
  let b = group / (P.tiles * kvHeads);
  let keyTile = group % P.tiles;
  let firstKey = keyTile * ${keys}u;
  let keyBase = (b * kvHeads + kvHead) * P.keyLen;
  let queryTiles = (P.queryLen + ${queries - 1}u) / ${queries}u;
${dKey.declared}
${dValue.declared}
${loadKeys(call)}
  for (var own = 0u; own < P.group; own++) {
    let h = kvHead * P.group + own;
    let queryBase = (b * P.numHeads + h) * P.queryLen;
    for (var tile = 0u; tile < queryTiles; tile++) {
      let state = tileState(b, h, tile, keyTile);
      if (state == 0u) { continue; }
      let isWhole = state == 2u;
      let first = tile * ${queries}u;
      workgroupBarrier();
${loadQueries(call)}
      workgroupBarrier();
${tileGradients(call, "turned")}
      workgroupBarrier();
${addRows("dv", {
  weights: { name: "tWeight", stride: turnedStride(tile), rows: keys },
  rows: { name: "tDOut", stride: valueVectors + 1, vectors: valueVectors },
  inner: queries,
  shares: dValue.shares,
})}
${addRows("dk", {
  weights: { name: "tWeight", from: keys * turnedStride(tile), stride: turnedStride(tile), rows: keys },
  rows: { name: "tQuery", stride: headVectors + 1, vectors: headVectors },
  inner: queries,
  shares: dKey.shares,
})}
    }
  }
  let start = firstKey;
  let limit = P.keyLen;
  let base = keyBase;
${dKey.stored}
${dValue.stored}`,
  });
}
