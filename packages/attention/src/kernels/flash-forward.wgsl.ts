import { type WgslKernelFactory, wgslStep } from "@heddle/tensor/kernel";
import { type FlashParams, type FlashShape, flashInputs, flashShape } from "../flash-params.js";
import {
  anySeen,
  dotRows,
  flashUniforms,
  loadRows,
  readBuffer,
  ruleBuffers,
  threads,
  tileFor,
  tileFunctions,
  type WgslTile,
  writeBuffer,
} from "./flash.wgsl.js";

/**
 * WGSL kernel of `flashAttention` for f32: a workgroup takes a tile of queries of one head through the tiles of keys, with a
 * running softmax. Tiles without a seen pair are skipped.
 *
 * @see Dao 2023, FlashAttention-2, arXiv:2307.08691, algorithm 1. Twin: `naiveAttention`.
 */
export const flashForwardWgsl: WgslKernelFactory<FlashParams> = ({ inputs, params }, features) => {
  if (inputs.slice(0, 3).some(({ dtype }) => dtype !== "f32") || params.countsTiles) return undefined;
  const shape = flashShape(inputs);
  const at = flashInputs(params);
  const { headDim, valueDim } = shape;
  const widest = Math.max(headDim, valueDim);
  const tile = tileFor(
    features.maxWorkgroupBytes,
    ({ queries, keys }) => queries * headDim + keys * widest + queries * keys + 3 * queries,
  );
  if (tile === undefined || at.count + 2 > features.maxBuffers) return undefined;
  const bias = at.bias === undefined ? undefined : inputs[at.bias]?.shape;
  const tiles = Math.ceil(shape.queryLen / tile.queries);
  return {
    steps: [
      wgslStep({
        buffers: [
          readBuffer("query", 0),
          readBuffer("key", 1),
          readBuffer("value", 2),
          ...ruleBuffers(inputs, params),
          writeBuffer("out", at.count),
          writeBuffer("lse", at.count + 1),
        ],
        params: { ...flashUniforms(shape, params, bias), tiles },
        threads,
        groups: shape.batch * shape.numHeads * tiles,
        declarations: `${tileFunctions(params)}
var<workgroup> tQuery: array<f32, ${tile.queries * headDim}>;
var<workgroup> tRows: array<f32, ${tile.keys * widest}>;
var<workgroup> tScore: array<f32, ${tile.queries * tile.keys}>;
var<workgroup> rowMax: array<f32, ${tile.queries}>;
var<workgroup> rowSum: array<f32, ${tile.queries}>;
var<workgroup> rowKept: array<f32, ${tile.queries}>;`,
        body: forwardBody(shape, params, tile),
      }),
    ],
  };
};

function forwardBody({ headDim, valueDim }: FlashShape, params: FlashParams, tile: WgslTile): string {
  const perThread = Math.ceil((tile.queries * valueDim) / threads);
  const outputs = tile.queries * valueDim;
  return `  let h = (group / P.tiles) % P.numHeads;
  let b = group / (P.tiles * P.numHeads);
  let first = (group % P.tiles) * ${tile.queries}u;
  let queryBase = (b * P.numHeads + h) * P.queryLen;
  let keyBase = (b * (P.numHeads / P.group) + h / P.group) * P.keyLen;
  var acc: array<f32, ${perThread}>;
  ${loadRows({ target: "tQuery", source: "query", rows: tile.queries, width: headDim, first: "first", limit: "P.queryLen", base: "queryBase" })}
  if (thread < ${tile.queries}u) {
    rowMax[thread] = ${params.hasSinks ? "load_sinks(h)" : "-1e30"};
    rowSum[thread] = ${params.hasSinks ? "1.0" : "0.0"};
  }
  workgroupBarrier();
  for (var key = 0u; key < P.keyLen; key += ${tile.keys}u) {
    ${anySeen(tile, { first: "first", key: "key" })}
    if (!hasSeen) { continue; }
    ${loadRows({ target: "tRows", source: "key", rows: tile.keys, width: headDim, first: "key", limit: "P.keyLen", base: "keyBase" })}
    workgroupBarrier();
    for (var e = thread; e < ${tile.queries * tile.keys}u; e += ${threads}u) {
      let i = e / ${tile.keys}u;
      let j = e % ${tile.keys}u;
      ${dotRows(headDim, `tQuery[i * ${headDim}u + c]`, `tRows[j * ${headDim}u + c]`)}
      var value = -1e30;
      if (isSeen(b, h, first + i, key + j)) { value = score(b, h, first + i, key + j, product); }
      tScore[e] = value;
    }
    workgroupBarrier();
    if (thread < ${tile.queries}u) {
      var most = rowMax[thread];
      for (var j = 0u; j < ${tile.keys}u; j++) { most = h_max(most, tScore[thread * ${tile.keys}u + j]); }
      let kept = exp(rowMax[thread] - most);
      var sum = rowSum[thread] * kept;
      for (var j = 0u; j < ${tile.keys}u; j++) {
        let at = thread * ${tile.keys}u + j;
        let weight = select(exp(tScore[at] - most), 0.0, tScore[at] <= -1e30);
        tScore[at] = weight;
        sum += weight;
      }
      rowMax[thread] = most;
      rowSum[thread] = sum;
      rowKept[thread] = kept;
    }
    ${loadRows({ target: "tRows", source: "value", rows: tile.keys, width: valueDim, first: "key", limit: "P.keyLen", base: "keyBase" })}
    workgroupBarrier();
    for (var n = 0u; n < ${perThread}u; n++) {
      let e = thread + n * ${threads}u;
      if (e < ${outputs}u) {
        let i = e / ${valueDim}u;
        var sum = acc[n] * rowKept[i];
        for (var j = 0u; j < ${tile.keys}u; j++) {
          sum += tScore[i * ${tile.keys}u + j] * tRows[j * ${valueDim}u + e % ${valueDim}u];
        }
        acc[n] = sum;
      }
    }
    workgroupBarrier();
  }
  for (var n = 0u; n < ${perThread}u; n++) {
    let e = thread + n * ${threads}u;
    let i = first + e / ${valueDim}u;
    if (e < ${outputs}u && i < P.queryLen) {
      let sum = rowSum[e / ${valueDim}u];
      store_out((queryBase + i) * ${valueDim}u + e % ${valueDim}u, select(acc[n] / sum, 0.0, sum == 0.0));
    }
  }
  if (thread < ${tile.queries}u && first + thread < P.queryLen) {
    let sum = rowSum[thread];
    store_lse(queryBase + first + thread, select(rowMax[thread] + log(sum), -h_infinity(), sum == 0.0));
  }`;
}
