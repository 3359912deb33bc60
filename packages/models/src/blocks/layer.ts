import { add, invariant, mul, type Tensor } from "@heddle/tensor";
import { type DecoderConfig, layerConfig, type ResidualConfig } from "../config.js";
import { expertsForward } from "../experts/experts.js";
import type { LayerWeights, NormWeights } from "../weights.js";
import type { Attend } from "./attend.js";
import { selfAttention } from "./attention-block.js";
import { feedForward } from "./mlp.js";
import { normalize } from "./norm.js";
import type { Rotate } from "./rotation.js";

/** What every layer of one call shares. */
export interface LayerContext {
  readonly config: DecoderConfig;
  /** One rotation a layer. */
  readonly rotations: readonly Rotate[];
  readonly attend: Attend;
  /** Is shown the logits [N, X] of each router. */
  readonly onRouterLogits?: (logits_NX: Tensor) => void;
  /** Applied to what a block adds to the residual stream; the identity outside of training. */
  readonly drop: (x_BTE: Tensor, block: number) => Tensor;
}

const preNorm: ResidualConfig = { order: "sequential", norms: "pre" };

/**
 * One layer: attention and feed-forward, each adding to the residual stream, in the order and with the norms of the configuration.
 *
 * Shapes: x [B, T, E] -> [B, T, E].
 */
export function decoderLayer(
  context: LayerContext,
  weights: LayerWeights,
  { x_BTE, layer }: { readonly x_BTE: Tensor; readonly layer: number },
): Tensor {
  const { config, drop } = context;
  const { norm, residual = preNorm } = config;
  const normed = (x: Tensor, by: NormWeights | undefined) => (by === undefined ? x : normalize(norm, by, x));
  const before = (x: Tensor, by: NormWeights | undefined) => (residual.norms === "sum" ? x : normed(x, by));
  const join = (stream: Tensor, branch: Tensor, by: NormWeights | undefined) => {
    const { scale, streamScale } = residual;
    const onto = streamScale === undefined ? stream : mul(stream, streamScale);
    const sum = add(onto, scale === undefined ? branch : mul(branch, scale));
    return residual.norms === "sum" ? normed(sum, by) : sum;
  };
  const attend = (x: Tensor) =>
    drop(normed(attention(context, weights, { x_BTE: x, layer }), weights.attentionPostNorm), 2 * layer + 1);
  const feed = (x: Tensor) =>
    drop(normed(mlp(context, weights, { x_BTE: x, layer }), weights.mlpPostNorm), 2 * layer + 2);

  const first_BTE = before(x_BTE, weights.attentionNorm);
  if (residual.order === "parallel") {
    const second_BTE = residual.sharesNorm ? first_BTE : before(x_BTE, weights.mlpNorm);
    return join(join(x_BTE, attend(first_BTE), undefined), feed(second_BTE), undefined);
  }
  const attended_BTE = join(
    residual.addsToNorm ? first_BTE : x_BTE,
    attend(first_BTE),
    weights.attentionNorm,
  );
  const second_BTE = before(attended_BTE, weights.mlpNorm);
  return join(residual.addsToNorm ? second_BTE : attended_BTE, feed(second_BTE), weights.mlpNorm);
}

function attention(
  { config, rotations, attend }: LayerContext,
  weights: LayerWeights,
  input: { readonly x_BTE: Tensor; readonly layer: number },
): Tensor {
  const rotate = rotations[input.layer] ?? ((x: Tensor) => x);
  return selfAttention({ config, rotate, attend }, weights.attention, input);
}

function mlp(
  { config, onRouterLogits }: LayerContext,
  { mlp: weights, experts: chosen }: LayerWeights,
  { x_BTE, layer }: { readonly x_BTE: Tensor; readonly layer: number },
): Tensor {
  const { mlp: block } = layerConfig(config, layer);
  if (weights !== undefined) return feedForward(block, weights, x_BTE);
  invariant(chosen && block.experts, `layer ${layer} has a feed-forward block or experts`);
  return expertsForward(block, { weights: chosen, experts: block.experts, onLogits: onRouterLogits }, x_BTE);
}
