import { allOf, attention, causal, padding } from "@heddle/attention";
import { distanceRow, t5Bias } from "@heddle/positional-encodings";
import { add, arange, embedding, invariant, linear, mul, scope, type Tensor } from "@heddle/tensor";
import { type Attend, asHeads } from "../blocks/attend.js";
import { bidirectionalAttend, type ScoreBias } from "../blocks/attend-bidirectional.js";
import type { LayerContext } from "../blocks/layer.js";
import { normalize } from "../blocks/norm.js";
import { type HiddenStates, runLayers } from "../decoder/decoder.js";
import {
  type Activations,
  checkPoints,
  type Inspection,
  type Inspector,
  inspectorOf,
} from "../inspection/inspect.js";
import type { Seq2SeqConfig } from "./config.js";
import { type CrossAttend, type CrossContext, crossHeads, crossLayer } from "./cross-layer.js";
import { convolveFrames } from "./frames.js";
import type { Seq2SeqWeights } from "./weights.js";

export interface SourceInputs {
  /** Token ids [B, S] i32, or frames [B, numBins, 2 S] float. */
  readonly source: Tensor;
  /** True for tokens, false for padding, [B, S] bool. Default: no padding. */
  readonly sourceMask?: Tensor;
}

/** What to read and to replace in each part of an encoder-decoder. */
export interface Seq2SeqInspection {
  readonly encoder?: Inspection;
  /** The decoder's stream, its attention to its own past, its feed-forward. */
  readonly decoder?: Inspection;
  /** The decoder's attention to the encoder's states; "attention" is what it adds, "key" and "value" are the states'. */
  readonly cross?: Inspection;
}

export interface Seq2SeqInputs extends SourceInputs {
  /** What the decoder has seen, [B, T] i32, from the start token on. */
  readonly ids: Tensor;
  /** True for tokens, false for padding, [B, T] bool. Default: no padding. */
  readonly mask?: Tensor;
  /** Values to read or replace on the way. Default: none, at no cost. */
  readonly inspect?: Seq2SeqInspection | undefined;
}

/**
 * An encoder-decoder: source -> encoder -> states; ids -> decoder, which listens to the states -> logits.
 *
 * Shapes: source [B, S] or [B, numBins, 2 S], ids [B, T] -> logits [B, T, V]. The caller disposes the logits.
 */
export function seq2seqLogits(config: Seq2SeqConfig, weights: Seq2SeqWeights, inputs: Seq2SeqInputs): Tensor {
  return scope(inputs.ids.device, () => {
    const { decoder } = seq2seqHidden(config, weights, inputs);
    return seq2seqUnembed(config, weights, decoder.last);
  });
}

/** Both stacks up to their last hidden states. @returns tensors that the caller disposes */
export function seq2seqHidden(
  config: Seq2SeqConfig,
  weights: Seq2SeqWeights,
  inputs: Seq2SeqInputs & { readonly keepLayers?: boolean },
): { readonly encoder: HiddenStates; readonly decoder: TargetHiddenStates } {
  const { keepLayers = false, ids, mask, sourceMask, inspect = {} } = inputs;
  if (inspect.cross !== undefined)
    checkPoints("attention to an encoder", inspect.cross, [
      "query",
      "key",
      "value",
      "pattern",
      "heads",
      "attention",
    ]);
  return scope(ids.device, () => {
    const encoder = sourceHidden(config, weights, { ...inputs, inspect: inspect.encoder });
    const cross = inspectorOf(inspect.cross);
    const decoder = targetHidden(config, weights, {
      ids,
      keepLayers,
      attend: targetAttend(config, weights, mask),
      crossAttend: fullCrossAttend(config, weights, {
        states: encoder.last,
        mask: sourceMask,
        inspector: cross,
      }),
      inspectors: { own: inspectorOf(inspect.decoder), cross },
    });
    return { encoder: { ...encoder, layers: keepLayers ? encoder.layers : [] }, decoder };
  });
}

/** The encoder's states, [B, S, E]. @returns tensors that the caller disposes */
export function sourceHidden(
  config: Seq2SeqConfig,
  { embedding: table, encoder: weights }: Seq2SeqWeights,
  inputs: SourceInputs & { readonly keepLayers?: boolean; readonly inspect?: Inspection | undefined },
): HiddenStates {
  const { source, sourceMask, keepLayers = true } = inputs;
  const { device } = source;
  const { encoder } = config;
  return scope(device, () => {
    const { conv1, conv2 } = weights;
    const given =
      conv1 !== undefined && conv2 !== undefined
        ? convolveFrames(source, conv1, conv2)
        : scaled(config, embedding(source, table));
    const bias = bucketBias(config, weights.distanceBias, true);
    const plain: LayerContext = {
      config: encoder,
      rotations: [],
      attend: bidirectionalAttend({ mask: sourceMask, bias }),
      drop: (x) => x,
    };
    const inspector = inspectorOf(inputs.inspect);
    const stack = { context: inspector?.around(plain) ?? plain, inspector, keepLayers };
    const placed = withPositions(config, { stack: weights, norm: encoder.norm }, given);
    const { x_BTE: x_BSE, layers } = runLayers(stack, weights.layers, placed);
    const last = weights.norm === undefined ? x_BSE : normalize(encoder.norm, weights.norm, x_BSE);
    return { last, layers, ...(inspector === undefined ? {} : { activations: inspector.activations }) };
  });
}

export interface TargetHiddenStates extends HiddenStates {
  /** The values that `inspect.cross` asked to keep. */
  readonly cross?: Activations;
}

export interface TargetInputs {
  /** [B, T] i32 */
  readonly ids: Tensor;
  /** Place of each token, [B, T] i32. Default 0..T-1. */
  readonly positions?: Tensor;
  /** How tokens see each other and the past. */
  readonly attend: Attend;
  /** How tokens see the encoder's states. */
  readonly crossAttend: CrossAttend;
  readonly keepLayers?: boolean;
  /** See to the decoder's own values, and to what attention to the encoder adds. */
  readonly inspectors?: { readonly own: Inspector | undefined; readonly cross: Inspector | undefined };
}

/** The decoder up to its last hidden states, [B, T, E]. @returns tensors that the caller disposes */
export function targetHidden(
  config: Seq2SeqConfig,
  { embedding: table, decoder: weights }: Seq2SeqWeights,
  inputs: TargetInputs,
): TargetHiddenStates {
  const { ids, positions, attend, crossAttend, keepLayers = false } = inputs;
  const { own, cross } = inputs.inspectors ?? {};
  const { device } = ids;
  const { decoder } = config;
  return scope(device, () => {
    const context: CrossContext = {
      config: decoder,
      attend: own?.attending(attend) ?? attend,
      crossAttend,
      added: (block, layer, x) =>
        (block === "cross" ? cross?.visit("attention", layer, x) : own?.visit(block, layer, x)) ?? x,
    };
    const visit = (layer: number, x: Tensor) => own?.visit("residual", layer, x) ?? x;
    const layers: Tensor[] = [];
    const embedded = scaled(config, embedding(ids, table));
    let x_BTE = visit(0, withPositions(config, { stack: weights, norm: decoder.norm, positions }, embedded));
    for (const [layer, layerWeights] of weights.layers.entries()) {
      if (keepLayers) layers.push(x_BTE);
      const input = { x_BTE, layer };
      // What is kept of the layer has to outlive its scope.
      const result = scope(device, () => ({
        x_BTE: crossLayer(context, layerWeights, input),
        kept: [own?.activations, cross?.activations],
      }));
      x_BTE = visit(layer + 1, result.x_BTE);
    }
    const last = weights.norm === undefined ? x_BTE : normalize(decoder.norm, weights.norm, x_BTE);
    return {
      last,
      layers,
      ...(own === undefined ? {} : { activations: own.activations }),
      ...(cross === undefined ? {} : { cross: cross.activations }),
    };
  });
}

/** Logits of the decoder's hidden states: [.., E] -> [.., V]. */
export function seq2seqUnembed({ head }: Seq2SeqConfig, weights: Seq2SeqWeights, hidden: Tensor): Tensor {
  const scaledHidden = head.scale === undefined ? hidden : mul(hidden, head.scale);
  return linear(scaledHidden, weights.unembedding ?? weights.embedding, weights.unembeddingBias);
}

/** Tokens see those before them; nothing is kept. */
function targetAttend(config: Seq2SeqConfig, weights: Seq2SeqWeights, mask: Tensor | undefined): Attend {
  const bias = bucketBias(config, weights.decoder.distanceBias, false);
  return (layer, inputs) => {
    const { query_BHTD, key_BGTD, value_BGTD, scale } = asHeads(inputs);
    return attention(query_BHTD, key_BGTD, value_BGTD, {
      mask: mask === undefined ? causal() : allOf(causal(), padding(mask)),
      scale,
      ...bias?.(layer, { query_BHTD, key_BGTD }),
    });
  };
}

/** Tokens see all of the encoder's states that are no padding. */
function fullCrossAttend(
  { decoder }: Seq2SeqConfig,
  weights: Seq2SeqWeights,
  {
    states,
    mask,
    inspector,
  }: {
    readonly states: Tensor;
    readonly mask: Tensor | undefined;
    readonly inspector: Inspector | undefined;
  },
): CrossAttend {
  const plain = bidirectionalAttend({ mask });
  const attend = inspector?.attending(plain) ?? plain;
  return (layer, query_BHTD, scale) => {
    const own = weights.decoder.layers[layer];
    invariant(own, `layer ${layer} has weights`);
    const { key: key_BGTD, value: value_BGTD } = crossHeads(decoder, own.cross, states);
    return attend(layer, { kind: "heads", query_BHTD, key_BGTD, value_BGTD, scale });
  };
}

/** The bias by buckets of distance, made once for all layers. */
function bucketBias(
  { positions }: Seq2SeqConfig,
  table: Tensor | undefined,
  isBidirectional: boolean,
): ScoreBias | undefined {
  if (positions.kind !== "buckets" || table === undefined) return undefined;
  const { numBuckets, maxDistance } = positions;
  const encoding = t5Bias(table, { numBuckets, maxDistance, isBidirectional });
  return (_, { query_BHTD, key_BGTD }) => {
    const lengths = { queryLen: query_BHTD.shape[2] ?? 0, keyLen: key_BGTD.shape[2] ?? 0 };
    return { distanceBias: distanceRow(encoding, lengths) };
  };
}

function scaled({ embedding: { scale } }: Seq2SeqConfig, x: Tensor): Tensor {
  return scale === undefined ? x : mul(x, scale);
}

/** Adds learned positions and norms, where the model does so. */
function withPositions(
  { positions: kind }: Seq2SeqConfig,
  {
    stack: { positionEmbedding, embeddingNorm },
    norm,
    positions,
  }: {
    readonly stack: Pick<Seq2SeqWeights["decoder"], "positionEmbedding" | "embeddingNorm">;
    readonly norm: Seq2SeqConfig["decoder"]["norm"];
    readonly positions?: Tensor | undefined;
  },
  x: Tensor,
): Tensor {
  let placed = x;
  if (positionEmbedding !== undefined) {
    const places = positions ?? arange(x.device, x.shape[1] ?? 1);
    const offset = kind.kind === "learned" ? kind.offset : 0;
    placed = add(x, embedding(offset === 0 ? places : add(places, offset), positionEmbedding));
  }
  return embeddingNorm === undefined ? placed : normalize(norm, embeddingNorm, placed);
}
