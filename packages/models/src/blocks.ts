import { add, gelu, layerNorm, linear, mul, relu, rmsNorm, silu, swiGLU, type Tensor } from "@heddle/tensor";
import type { Attend } from "./attend.js";
import type { Activation, DecoderConfig } from "./config.js";
import type { AttentionWeights, LayerWeights, LinearWeights, MlpWeights, NormWeights } from "./weights.js";

/** What every layer of one call shares. */
export interface LayerContext {
  readonly config: DecoderConfig;
  /** Turns queries or keys [B, H, T, D] by their positions; the identity where positions are not rotary. */
  readonly rotate: (x_BHTD: Tensor) => Tensor;
  readonly attend: Attend;
  /** Applied to what a block adds to the residual stream; the identity outside of training. */
  readonly drop: (x_BTE: Tensor, block: number) => Tensor;
}

/**
 * One pre-norm layer: x + attention(norm(x)), then x + mlp(norm(x)).
 *
 * Shapes: x [B, T, E] -> [B, T, E].
 */
export function decoderLayer(
  context: LayerContext,
  weights: LayerWeights,
  { x_BTE, layer }: { readonly x_BTE: Tensor; readonly layer: number },
): Tensor {
  const { config, drop } = context;
  const normed_BTE = normalize(config, weights.attentionNorm, x_BTE);
  const seen_BTE = selfAttention(context, weights.attention, { x_BTE: normed_BTE, layer });
  const attended_BTE = add(x_BTE, drop(seen_BTE, 2 * layer + 1));
  const fed_BTE = feedForward(config, weights.mlp, normalize(config, weights.mlpNorm, attended_BTE));
  return add(attended_BTE, drop(fed_BTE, 2 * layer + 2));
}

/** RMS or layer norm over the last axis, as the configuration says. */
export function normalize({ norm }: DecoderConfig, { weight, bias }: NormWeights, x_BTE: Tensor): Tensor {
  switch (norm.kind) {
    case "rms":
      return rmsNorm(x_BTE, weight, { eps: norm.eps });
    case "layer":
      return layerNorm(x_BTE, { weight, bias, eps: norm.eps });
    default:
      return norm.kind satisfies never;
  }
}

function selfAttention(
  { config, rotate, attend }: LayerContext,
  weights: AttentionWeights,
  { x_BTE, layer }: { readonly x_BTE: Tensor; readonly layer: number },
): Tensor {
  const { numHeads, numKvHeads, headDim } = config;
  const query_BHTD = rotate(splitHeads(project(weights.query, x_BTE), numHeads, headDim));
  const key_BGTD = rotate(splitHeads(project(weights.key, x_BTE), numKvHeads, headDim));
  const value_BGTD = splitHeads(project(weights.value, x_BTE), numKvHeads, headDim);
  const seen_BHTD = attend(layer, { query_BHTD, key_BGTD, value_BGTD, scale: config.attention.scale });
  return project(weights.output, joinHeads(seen_BHTD));
}

function feedForward({ mlp }: DecoderConfig, { gate, up, down }: MlpWeights, x_BTE: Tensor): Tensor {
  const up_BTF = project(up, x_BTE);
  if (gate === undefined) return project(down, activate(mlp.activation, up_BTF));
  const gate_BTF = project(gate, x_BTE);
  const gated_BTF =
    mlp.activation === "silu" ? swiGLU(gate_BTF, up_BTF) : mul(activate(mlp.activation, gate_BTF), up_BTF);
  return project(down, gated_BTF);
}

function project({ weight, bias }: LinearWeights, x: Tensor): Tensor {
  return linear(x, weight, bias);
}

function activate(activation: Activation, x: Tensor): Tensor {
  switch (activation) {
    case "silu":
      return silu(x);
    case "gelu":
      return gelu(x, { approximate: "none" });
    case "gelu-tanh":
      return gelu(x, { approximate: "tanh" });
    case "relu":
      return relu(x);
    default:
      return activation satisfies never;
  }
}

/** [B, T, H D] -> [B, H, T, D]; with one token a row this moves no data. */
function splitHeads(x: Tensor, numHeads: number, headDim: number): Tensor {
  const [numRows = 1, numTokens = 1] = x.shape;
  if (numTokens === 1) return x.reshape([numRows, numHeads, 1, headDim]);
  return x.reshape([numRows, numTokens, numHeads, headDim]).transpose([0, 2, 1, 3]);
}

/** [B, H, T, D] -> [B, T, H D]. */
function joinHeads(x: Tensor): Tensor {
  const [numRows = 1, numHeads = 1, numTokens = 1, headDim = 1] = x.shape;
  const ordered = numTokens === 1 ? x : x.transpose([0, 2, 1, 3]);
  return ordered.reshape([numRows, numTokens, numHeads * headDim]);
}
