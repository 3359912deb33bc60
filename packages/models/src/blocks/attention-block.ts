import { clamp, concat, invariant, type Tensor } from "@heddle/tensor";
import { type AttentionConfig, type DecoderConfig, type LatentConfig, layerConfig } from "../config.js";
import type { AttentionWeights, LinearWeights, NormWeights } from "../weights.js";
import type { Attend, AttendInputs, LatentAttendInputs, ScoreRules } from "./attend.js";
import { normalize } from "./norm.js";
import { project } from "./project.js";
import { type Rotate, slopesOf } from "./rotation.js";

/**
 * Self-attention of one layer: project to heads, norm, rotate, attend, project back.
 *
 * Shapes: x [B, T, E] -> [B, T, E].
 */
export function selfAttention(
  {
    config,
    rotate,
    attend,
  }: { readonly config: DecoderConfig; readonly rotate: Rotate; readonly attend: Attend },
  weights: AttentionWeights,
  { x_BTE, layer }: { readonly x_BTE: Tensor; readonly layer: number },
): Tensor {
  const { attention, positions, numKvHeads } = layerConfig(config, layer);
  const { numHeads } = config;
  const { scale, softcap, window, latent } = attention;
  const rules: ScoreRules = {
    scale,
    softcap,
    window,
    slopes: positions.kind === "alibi" ? slopesOf(positions, numHeads) : undefined,
    sinks: weights.sinks,
  };
  const inputs =
    latent === undefined
      ? projectHeads({ config, attention, numKvHeads, rotate }, weights, x_BTE)
      : projectLatent({ config, latent, rotate }, weights, x_BTE);
  return project(weights.output, joinHeads(attend(layer, { ...inputs, ...rules })));
}

function projectHeads(
  {
    config: { numHeads, headDim },
    attention: { clip, queryKeyNorm },
    numKvHeads,
    rotate,
  }: {
    readonly config: DecoderConfig;
    readonly attention: AttentionConfig;
    readonly numKvHeads: number;
    readonly rotate: Rotate;
  },
  { query, key, value, queryNorm, keyNorm }: AttentionWeights,
  x_BTE: Tensor,
): Omit<AttendInputs, keyof ScoreRules> {
  invariant(key && value, "attention without a latent cache has key and value weights");
  const cut = (x: Tensor) => (clip === undefined ? x : clamp(x, { min: -clip, max: clip }));
  const heads = (part: LinearWeights, count: number, norm?: NormWeights) => {
    const whole = project(part, x_BTE);
    const isWhole = queryKeyNorm?.over === "all" && norm !== undefined;
    const x = cut(isWhole ? normalize(queryKeyNorm, norm, whole) : whole);
    const split = splitHeads(x, count, headDim);
    if (queryKeyNorm === undefined || norm === undefined || isWhole) return split;
    return normalize(queryKeyNorm, queryKeyNorm.over === "own" ? byHead(norm) : norm, split);
  };
  return {
    kind: "heads",
    query_BHTD: rotate(heads(query, numHeads, queryNorm)),
    key_BGTD: rotate(heads(key, numKvHeads, keyNorm)),
    value_BGTD: heads(value, numKvHeads),
  };
}

/** Norm weights [H, D] of each head, to broadcast over tokens: [H, 1, D]. */
function byHead({ weight, bias }: NormWeights): NormWeights {
  return {
    ...(weight === undefined ? {} : { weight: weight.expandDims(1) }),
    ...(bias === undefined ? {} : { bias: bias.expandDims(1) }),
  };
}

/** Queries, and one latent and one rotated key a token. @see arXiv:2405.04434, equations 37 to 47 */
function projectLatent(
  {
    config: { numHeads, headDim, norm },
    latent: { kvRank, ropeDim, valueDim },
    rotate,
  }: { readonly config: DecoderConfig; readonly latent: LatentConfig; readonly rotate: Rotate },
  weights: AttentionWeights,
  x_BTE: Tensor,
): Omit<LatentAttendInputs, keyof ScoreRules> {
  const { query, queryDown, queryDownNorm, kvDown, kvDownNorm, kvUp } = weights;
  invariant(kvDown && kvDownNorm && kvUp, "latent attention has down and up projections");
  const contentDim = headDim - ropeDim;
  const isLowRank = queryDown !== undefined && queryDownNorm !== undefined;
  const query_BTQ = isLowRank ? normalize(norm, queryDownNorm, project(queryDown, x_BTE)) : x_BTE;
  const query_BHTD = splitHeads(project(query, query_BTQ), numHeads, headDim);
  const [content, turning] = cutLast(query_BHTD, [contentDim, ropeDim]);
  const [raw_BTC, turningKey_BTR] = cutLast(project(kvDown, x_BTE), [kvRank, ropeDim]);
  const latent_BTC = normalize(norm, kvDownNorm, raw_BTC);
  const rotatedKey = rotate(splitHeads(turningKey_BTR, 1, ropeDim));
  const expand = () => {
    const up_BHTX = splitHeads(project(kvUp, latent_BTC), numHeads, contentDim + valueDim);
    const [plainKey, value_BHTD] = cutLast(up_BHTX, [contentDim, valueDim]);
    const [numRows = 1, , length = 1] = plainKey.shape;
    const same = rotatedKey.broadcastTo([numRows, numHeads, length, ropeDim]);
    return { key_BHTD: concat([plainKey, same], { axis: 3 }), value_BHTD };
  };
  return {
    kind: "latent",
    query: { content, rotated: rotate(turning) },
    keys: { latent: latent_BTC.expandDims(1), rotated: rotatedKey },
    expand,
  };
}

function cutLast(x: Tensor, sizes: readonly [number, number]): readonly [Tensor, Tensor] {
  const [first, second] = x.split(sizes, { axis: -1 });
  invariant(first && second, "two sizes give two parts");
  return [first, second];
}

/** [B, T, H D] -> [B, H, T, D]; with one token a row this moves no data. */
export function splitHeads(x: Tensor, numHeads: number, headDim: number): Tensor {
  const [numRows = 1, numTokens = 1] = x.shape;
  if (numTokens === 1) return x.reshape([numRows, numHeads, 1, headDim]);
  return x.reshape([numRows, numTokens, numHeads, headDim]).transpose([0, 2, 1, 3]);
}

/** [B, H, T, D] -> [B, T, H D]. */
export function joinHeads(x: Tensor): Tensor {
  const [numRows = 1, numHeads = 1, numTokens = 1, headDim = 1] = x.shape;
  const ordered = numTokens === 1 ? x : x.transpose([0, 2, 1, 3]);
  return ordered.reshape([numRows, numTokens, numHeads * headDim]);
}
