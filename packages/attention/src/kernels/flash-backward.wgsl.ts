import type { TensorType } from "@heddle/tensor";
import { type WgslKernelFactory, type WgslStep, wgslStep } from "@heddle/tensor/kernel";
import { type FlashBackwardParams, type FlashShape, flashInputs, flashShape } from "../flash-params.js";
import {
  flashUniforms,
  loadRows,
  readBuffer,
  ruleBuffers,
  ruleFunctions,
  threads,
  tileFor,
  type WgslTile,
  writeBuffer,
} from "./flash.wgsl.js";
import { type TileStates, tileStates } from "./tile-states.wgsl.js";

/**
 * WGSL kernels of the gradient of `flashAttention` for f32: one step for queries (and bias), one for keys and values; weights are
 * computed again from the stored log-sum-exp. No two workgroups write to one element.
 *
 * @see Dao 2023, FlashAttention-2, arXiv:2307.08691, algorithm 2. Twin: `reference` of `flashAttentionBackward`.
 */
export const flashBackwardWgsl: WgslKernelFactory<FlashBackwardParams> = ({ inputs, params }, features) => {
  if (inputs.slice(0, 3).some(({ dtype }) => dtype !== "f32")) return undefined;
  const shape = flashShape(inputs);
  const { headDim, valueDim } = shape;
  const tile = tileFor(
    features.maxWorkgroupBytes,
    ({ queries, keys }) => (queries + keys) * (headDim + valueDim) + 2 * queries * keys + 2 * queries,
  );
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
  readonly tile: WgslTile;
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
  const biasAt = flashInputs(params).bias;
  const rules = { ...params, hasSinks: false };
  return wgslStep({
    buffers: [
      readBuffer("query", 0),
      readBuffer("key", 1),
      readBuffer("value", 2),
      ...ruleBuffers(inputs, rules),
      ...states.buffers,
      readBuffer("lse", count - 3),
      readBuffer("delta", count - 2),
      readBuffer("dOut", count - 1),
      ...step.outputs.map(({ name, index }) => writeBuffer(name, count + index)),
    ],
    params: {
      ...flashUniforms(shape, params, biasAt === undefined ? undefined : inputs[biasAt]?.shape),
      ...states.params,
      tiles: step.tiles,
    },
    threads,
    groups: step.groups,
    declarations: `${ruleFunctions(rules)}
${states.functions}
var<workgroup> tQuery: array<f32, ${tile.queries * headDim}>;
var<workgroup> tDOut: array<f32, ${tile.queries * valueDim}>;
var<workgroup> tKey: array<f32, ${tile.keys * headDim}>;
var<workgroup> tValue: array<f32, ${tile.keys * valueDim}>;
var<workgroup> tWeight: array<f32, ${tile.queries * tile.keys}>;
var<workgroup> tDScore: array<f32, ${tile.queries * tile.keys}>;
var<workgroup> rowLse: array<f32, ${tile.queries}>;
var<workgroup> rowDelta: array<f32, ${tile.queries}>;`,
    body: step.body,
  });
}

function loadQueries({ shape, tile }: BackwardCall): string {
  const common = { rows: tile.queries, first: "first", limit: "P.queryLen", base: "queryBase" };
  return `${loadRows({ ...common, target: "tQuery", source: "query", width: shape.headDim })}
    ${loadRows({ ...common, target: "tDOut", source: "dOut", width: shape.valueDim })}
    if (thread < ${tile.queries}u && first + thread < P.queryLen) {
      rowLse[thread] = load_lse(queryBase + first + thread);
      rowDelta[thread] = load_delta(queryBase + first + thread);
    }`;
}

function loadKeys({ shape, tile }: BackwardCall): string {
  const common = { rows: tile.keys, first: "key", limit: "P.keyLen", base: "keyBase" };
  return `${loadRows({ ...common, target: "tKey", source: "key", width: shape.headDim })}
    ${loadRows({ ...common, target: "tValue", source: "value", width: shape.valueDim })}`;
}

/** Weights and gradients of scores of a tile; the gradient of the bias on the way where `storesBias`. */
function tileGradients({ shape, tile }: BackwardCall, storesBias: boolean): string {
  const { headDim, valueDim } = shape;
  return `for (var e = thread; e < ${tile.queries * tile.keys}u; e += ${threads}u) {
      let i = e / ${tile.keys}u;
      let j = e % ${tile.keys}u;
      var weight = 0.0;
      var dScore = 0.0;
      if (isSeen(b, h, first + i, key + j)) {
        var product = 0.0;
        for (var c = 0u; c < ${headDim}u; c++) { product += tQuery[i * ${headDim}u + c] * tKey[j * ${headDim}u + c]; }
        weight = exp(score(b, h, first + i, key + j, product) - rowLse[i]);
        var dWeight = 0.0;
        for (var c = 0u; c < ${valueDim}u; c++) { dWeight += tDOut[i * ${valueDim}u + c] * tValue[j * ${valueDim}u + c]; }
        let dBiased = weight * (dWeight - rowDelta[i]);
        ${storesBias ? "store_dBias((queryBase + first + i) * P.keyLen + key + j, dBiased);" : ""}
        dScore = dBiased * slope(product) * P.scale;
      }
      tWeight[e] = weight;
      tDScore[e] = dScore;
    }`;
}

/** dQuery = sum over keys of dScore key. */
function queryStep(call: BackwardCall): WgslStep {
  const { shape, params, tile } = call;
  const { headDim } = shape;
  const tiles = Math.ceil(shape.queryLen / tile.queries);
  const perThread = Math.ceil((tile.queries * headDim) / threads);
  const zeroBias = `for (var e = thread; e < ${tile.queries}u * P.keyLen; e += ${threads}u) {
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
  let first = (group % P.tiles) * ${tile.queries}u;
  let queryBase = (b * P.numHeads + h) * P.queryLen;
  let keyBase = (b * (P.numHeads / P.group) + h / P.group) * P.keyLen;
  var acc: array<f32, ${perThread}>;
  ${params.wantsBias ? zeroBias : ""}
  ${loadQueries(call)}
  workgroupBarrier();
  for (var key = 0u; key < P.keyLen; key += ${tile.keys}u) {
    if (tileState(b, h, first / ${tile.queries}u, key / ${tile.keys}u) == 0u) { continue; }
    ${loadKeys(call)}
    workgroupBarrier();
    ${tileGradients(call, params.wantsBias)}
    workgroupBarrier();
    for (var n = 0u; n < ${perThread}u; n++) {
      let e = thread + n * ${threads}u;
      if (e < ${tile.queries * headDim}u) {
        for (var j = 0u; j < ${tile.keys}u; j++) {
          acc[n] += tDScore[(e / ${headDim}u) * ${tile.keys}u + j] * tKey[j * ${headDim}u + e % ${headDim}u];
        }
      }
    }
    workgroupBarrier();
  }
  for (var n = 0u; n < ${perThread}u; n++) {
    let e = thread + n * ${threads}u;
    let i = first + e / ${headDim}u;
    if (e < ${tile.queries * headDim}u && i < P.queryLen) { store_dQuery((queryBase + i) * ${headDim}u + e % ${headDim}u, acc[n]); }
  }`,
  });
}

/** dKey = sum over the queries of a group's heads of dScore query, dValue = sum of weight dOut. */
function keyStep(call: BackwardCall): WgslStep {
  const { shape, tile } = call;
  const { headDim, valueDim, numKvHeads } = shape;
  const tiles = Math.ceil(shape.keyLen / tile.keys);
  const [keyThread, valueThread] = [headDim, valueDim].map((width) =>
    Math.ceil((tile.keys * width) / threads),
  );
  const gather = (acc: string, n: string, width: number, [weights, rows]: readonly [string, string]) =>
    `for (var n = 0u; n < ${n}u; n++) {
        let e = thread + n * ${threads}u;
        if (e < ${tile.keys * width}u) {
          for (var i = 0u; i < ${tile.queries}u; i++) {
            ${acc}[n] += ${weights}[i * ${tile.keys}u + e / ${width}u] * ${rows}[i * ${width}u + e % ${width}u];
          }
        }
      }`;
  const store = (acc: string, n: string, width: number, name: string) =>
    `for (var n = 0u; n < ${n}u; n++) {
    let e = thread + n * ${threads}u;
    let j = key + e / ${width}u;
    if (e < ${tile.keys * width}u && j < P.keyLen) { store_${name}((keyBase + j) * ${width}u + e % ${width}u, ${acc}[n]); }
  }`;
  return backwardStep(call, {
    outputs: [
      { name: "dKey", index: 1 },
      { name: "dValue", index: 2 },
    ],
    tiles,
    groups: shape.batch * numKvHeads * tiles,
    body: `  let kvHeads = P.numHeads / P.group;
  let kvHead = (group / P.tiles) % kvHeads;
  let b = group / (P.tiles * kvHeads);
  let key = (group % P.tiles) * ${tile.keys}u;
  let keyBase = (b * kvHeads + kvHead) * P.keyLen;
  var accKey: array<f32, ${keyThread}>;
  var accValue: array<f32, ${valueThread}>;
  ${loadKeys(call)}
  workgroupBarrier();
  for (var own = 0u; own < P.group; own++) {
    let h = kvHead * P.group + own;
    let queryBase = (b * P.numHeads + h) * P.queryLen;
    for (var first = 0u; first < P.queryLen; first += ${tile.queries}u) {
      if (tileState(b, h, first / ${tile.queries}u, key / ${tile.keys}u) == 0u) { continue; }
      ${loadQueries(call)}
      workgroupBarrier();
      ${tileGradients(call, false)}
      workgroupBarrier();
      ${gather("accKey", `${keyThread}`, headDim, ["tDScore", "tQuery"])}
      ${gather("accValue", `${valueThread}`, valueDim, ["tWeight", "tDOut"])}
      workgroupBarrier();
    }
  }
  ${store("accKey", `${keyThread}`, headDim, "dKey")}
  ${store("accValue", `${valueThread}`, valueDim, "dValue")}`,
  });
}
