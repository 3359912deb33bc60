import { add, invariant, type Tensor } from "@heddle/tensor";
import type { Attend } from "../blocks/attend.js";
import { joinHeads, selfAttention, splitHeads } from "../blocks/attention-block.js";
import { feedForward } from "../blocks/mlp.js";
import { normalize } from "../blocks/norm.js";
import { project } from "../blocks/project.js";
import type { DecoderConfig } from "../config.js";
import type { AttentionWeights, NormWeights } from "../weights.js";
import type { CrossLayerWeights } from "./weights.js";

/** How queries [B, H, T, D] see the encoder's states: chosen by the caller. [B, H, T, D] */
export type CrossAttend = (layer: number, query_BHTD: Tensor, scale: number) => Tensor;

/** Keys and values of the encoder's states for one layer, [B, H, S, D] each. */
export interface CrossHeads {
  readonly key: Tensor;
  readonly value: Tensor;
}

/** What every layer of one call shares. */
export interface CrossContext {
  readonly config: DecoderConfig;
  readonly attend: Attend;
  readonly crossAttend: CrossAttend;
  /** Shown what a block adds to the stream; gives what is to be added. */
  readonly added: (block: CrossBlock, layer: number, x_BTE: Tensor) => Tensor;
}

/** The blocks of a layer, in their order. */
export type CrossBlock = "attention" | "cross" | "mlp";

/**
 * One layer of a decoder that listens to an encoder: attention to its own past, attention to the encoder's states, feed-forward.
 *
 * Shapes: x [B, T, E] -> [B, T, E].
 */
export function crossLayer(
  { config, attend, crossAttend, added }: CrossContext,
  weights: CrossLayerWeights,
  { x_BTE, layer }: { readonly x_BTE: Tensor; readonly layer: number },
): Tensor {
  const { norm, residual, numHeads, headDim, attention } = config;
  const { mlp } = weights;
  invariant(mlp, "a layer has a feed-forward block");
  const isBefore = residual?.norms !== "sum";
  const step = (
    x: Tensor,
    by: NormWeights | undefined,
    { name, block }: { readonly name: CrossBlock; readonly block: (x: Tensor) => Tensor },
  ) => {
    invariant(by, "every block has a norm");
    const normed = (y: Tensor) => normalize(norm, by, y);
    const change = added(name, layer, block(isBefore ? normed(x) : x));
    return isBefore ? add(x, change) : normed(add(x, change));
  };
  const self = (x: Tensor) =>
    selfAttention({ config, rotate: (y) => y, attend }, weights.attention, { x_BTE: x, layer });
  const cross = (x: Tensor) => {
    const query = splitHeads(project(weights.cross.query, x), numHeads, headDim);
    return project(weights.cross.output, joinHeads(crossAttend(layer, query, attention.scale)));
  };
  const attended = step(x_BTE, weights.attentionNorm, { name: "attention", block: self });
  const listened = step(attended, weights.crossNorm, { name: "cross", block: cross });
  return step(listened, weights.mlpNorm, { name: "mlp", block: (x) => feedForward(config.mlp, mlp, x) });
}

/** Projects the encoder's states [B, S, E] to the keys and values that a layer's queries meet. */
export function crossHeads(
  { numHeads, headDim }: DecoderConfig,
  { key, value }: AttentionWeights,
  states_BSE: Tensor,
): CrossHeads {
  invariant(key && value, "attention to the encoder has key and value weights");
  const heads = (linear: typeof key) => splitHeads(project(linear, states_BSE), numHeads, headDim);
  return { key: heads(key), value: heads(value) };
}
