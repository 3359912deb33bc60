import type { TensorType } from "@heddle/tensor";
import { matrixUnitOf, type WgslFeatures, type WgslKernel, wgslStep } from "@heddle/tensor/kernel";
import { type FlashParams, flashInputs, flashShape } from "../flash-params.js";
import { flashUniforms, ruleBuffers, ruleFunctions, writeBuffer } from "./flash.wgsl.js";
import {
  fetchRows,
  halvesBuffer,
  type MatrixAttention,
  type MatrixLayout,
  type MatrixTile,
  matrixEnd,
  matrixLayout,
  matrixLayoutFor,
  matrixMemory,
  matrixStart,
  matrixStep,
} from "./matrix-attention.wgsl.js";
import { tileStates } from "./tile-states.wgsl.js";

/**
 * Forward attention of f16 tensors on matrix units, with f32 scores and sums: a workgroup takes 128 queries of one head (64 where
 * heads are wider than 64) through tiles of 64 keys, the next tile on its way while one is multiplied. Scores pass through workgroup
 * memory, since the places of a matrix's elements are the hardware's secret; for the same reason sums are scaled down only when a
 * row's maximum has grown by 2^8, which is seldom and exact. Tiles without a seen pair are skipped.
 *
 * For adapters with subgroups of 32 and 16 x 16 x 16 products f16 -> f32, and head sizes that are multiples of 16 up to 128; undefined
 * else. Twin: `naiveAttention`.
 * @see Dao 2023, FlashAttention-2, arXiv:2307.08691, algorithm 1
 */
export function flashMatrixWgsl(
  { inputs, params }: { readonly inputs: readonly TensorType[]; readonly params: FlashParams },
  features: WgslFeatures,
  wanted?: MatrixTile,
): WgslKernel | undefined {
  const shape = flashShape(inputs);
  const at = flashInputs(params);
  const unit = matrixUnitOf(features);
  const layout = wanted ? matrixLayout(shape, wanted) : matrixLayoutFor(shape, features.maxWorkgroupBytes);
  if (unit === undefined || layout === undefined || params.countsTiles) return undefined;
  if (inputs.slice(0, 3).some(({ dtype }) => dtype !== "f16")) return undefined;
  const states = tileStates({ inputs, params, shape }, layout);
  if (at.count + 2 + states.buffers.length > features.maxBuffers) return undefined;
  const tiles = Math.ceil(shape.queryLen / layout.queries);
  const kernel = { unit, layout, ...accesses(params, layout) };
  const step = wgslStep({
    buffers: [
      halvesBuffer("query", 0),
      halvesBuffer("key", 1),
      halvesBuffer("value", 2),
      ...ruleBuffers(inputs, params),
      ...states.buffers,
      halvesBuffer("out", at.count, "words"),
      writeBuffer("lse", at.count + 1),
    ],
    params: {
      ...flashUniforms(shape, params, inputs),
      ...states.params,
      tiles,
      log2Scale: { f32: params.scale * Math.LOG2E },
    },
    threads: layout.threads,
    groups: shape.batch * shape.numHeads * tiles,
    enable: unit.directives,
    declarations: `${ruleFunctions(params)}
${states.functions}
${matrixMemory(kernel)}`,
    body: body(kernel),
  });
  return { steps: [...states.steps, step], scratch: states.scratch };
}

/** Rows of tensors [B, heads, length, D]. */
function accesses(params: FlashParams, layout: MatrixLayout): Omit<MatrixAttention, "unit" | "layout"> {
  const isPlain = params.softcap === undefined && !params.hasBias && params.hasDistanceBias !== true;
  const perRow = { query: layout.headDim / 8, key: layout.headDim / 8, value: layout.valueDim / 8 };
  return {
    query: (m, c) =>
      `if (first + ${m} < P.queryLen) { x = query[(queryBase + first + ${m}) * ${perRow.query}u + ${c}]; }`,
    row: (kind, { target, j, c, limit }) =>
      `${target} = ${kind}[(keyBase + min(${j}, ${limit} - 1u)) * ${perRow[kind]}u + ${c}]; ${target} = select(vec4<u32>(), ${target}, ${j} < ${limit});`,
    seen: (j) => `isSeen(b, h, first + mine, ${j})`,
    ...(isPlain
      ? {}
      : { score: (j, product) => `score(b, h, first + mine, ${j}, ${product}) * ${Math.LOG2E}` }),
    ...(params.hasSinks ? { sink: `load_sinks(h) * ${Math.LOG2E}` } : {}),
    out: (m, c) =>
      `if (first + ${m} < P.queryLen) { out[(queryBase + first + ${m}) * ${perRow.value}u + ${c}] = x; }`,
    finish: `    if (first + mine < P.queryLen) {
      store_lse(queryBase + first + mine, select((most + log2(total)) * ${Math.LN2}, -h_infinity(), total == 0.0));
    }`,
  };
}

function body(kernel: MatrixAttention): string {
  const { keys, queries } = kernel.layout;
  const fetchKeys = (tile: string) =>
    `    if (${tile} < P.keyTiles) {
${fetchRows(kernel, "key", { first: `${tile} * ${keys}u`, limit: "P.keyLen" })}
    }`;
  return `  let heads = P.batch * P.numHeads;
  let tile = P.tiles - 1u - group / heads; // under causal masks the last tiles have the most work
  let h = group % heads % P.numHeads;
  let b = group % heads / P.numHeads;
  let first = tile * ${queries}u;
  let queryBase = (b * P.numHeads + h) * P.queryLen;
  let keyBase = (b * (P.numHeads / P.group) + h / P.group) * P.keyLen;
${matrixStart(kernel)}
  var keyTile = nextTile(b, h, tile, 0u);
${fetchKeys("keyTile")}
  while (keyTile < P.keyTiles) {
    let firstKey = keyTile * ${keys}u;
    let isWhole = tileState(b, h, tile, keyTile) == 2u;
    keyTile = nextTile(b, h, tile, keyTile + 1u);
${matrixStep(kernel, "P.keyLen", fetchKeys("keyTile"))}
  }
${matrixEnd(kernel)}`;
}
