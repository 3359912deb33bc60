import {
  add,
  dropout as applyDropout,
  arange,
  embedding,
  HeddleError,
  invariant,
  linear,
  mul,
  scope,
  splitKey,
  type Tensor,
} from "@heddle/tensor";
import { type Attend, fullAttend } from "../blocks/attend.js";
import { decoderLayer, type LayerContext } from "../blocks/layer.js";
import { normalize } from "../blocks/norm.js";
import { project } from "../blocks/project.js";
import { layerRotations } from "../blocks/rotation.js";
import type { DecoderConfig } from "../config.js";
import { type Activations, type Inspection, type Inspector, inspectorOf } from "../inspection/inspect.js";
import type { DecoderWeights, LayerWeights } from "../weights.js";
import { activationDType } from "./activation-dtype.js";

export interface DecoderInputs {
  /** Token ids, [B, T] i32. */
  readonly ids: Tensor;
  /**
   * Position of each token in its sequence, [B, T] i32. Default 0..T-1 in every row. Both positions, [2, B, T], of a model that fills
   * spans, which `batchInputs` makes.
   */
  readonly positions?: Tensor;
  /** Default: causal attention among the tokens of a row. */
  readonly attend?: Attend;
  /** Longest sequence that the call belongs to, in tokens; some rotary scalings depend on it. Default T. */
  readonly seqLen?: number;
  /** For training: drops elements of the embedding and of what each block adds (GPT-2's residual dropout). `key` is u32 [2]. */
  readonly dropout?: { readonly rate: number; readonly key: Tensor };
  /** Values to read or replace on the way. Default: none, at no cost. */
  readonly inspect?: Inspection | undefined;
}

export interface HiddenStates {
  /** After the last norm: what the unembedding reads, [B, T, E]. */
  readonly last: Tensor;
  /** Input of the first layer and output of each layer but the last, [B, T, E] each; empty unless asked for. */
  readonly layers: readonly Tensor[];
  /** The values that `inspect` asked to keep. */
  readonly activations?: Activations;
}

export interface DecoderHiddenStates extends HiddenStates {
  /** Logits [B T, X] of the router of each layer of experts, for `loadBalancingLoss`; empty unless asked for. */
  readonly routerLogits: readonly Tensor[];
}

/**
 * The decoder: embedding -> layers -> norm -> unembedding. One function for every family.
 *
 * Shapes: ids [B, T] -> logits [B, T, V]. Weights and inputs are borrowed; the caller disposes the logits.
 */
export function decoderLogits(config: DecoderConfig, weights: DecoderWeights, inputs: DecoderInputs): Tensor {
  return scope(inputs.ids.device, () =>
    unembed(config, weights, decoderHidden(config, weights, inputs).last),
  );
}

/**
 * The decoder up to its last norm.
 *
 * @param options.keepLayers  also return what goes in and out of each layer
 * @param options.keepRouterLogits  also return the logits of routers
 * @returns tensors that the caller disposes
 */
export function decoderHidden(
  config: DecoderConfig,
  weights: DecoderWeights,
  inputs: DecoderInputs & { readonly keepLayers?: boolean; readonly keepRouterLogits?: boolean },
): DecoderHiddenStates {
  const { ids, attend = fullAttend(), seqLen = ids.shape[1] ?? 1, keepLayers = false } = inputs;
  const { device } = ids;
  return scope(device, () => {
    const positions_BT = inputs.positions ?? defaultPositions(config, ids);
    const drop = dropper(config, inputs.dropout);
    const rotations = layerRotations(config, { positions: positions_BT, seqLen });
    const inspector = inspectorOf(inputs.inspect);
    const plain: LayerContext = { config, attend, drop, rotations };
    const { keepRouterLogits = false } = inputs;
    const stack = { context: inspector?.around(plain) ?? plain, inspector, keepLayers, keepRouterLogits };
    const embedded = drop(embed(config, weights, { ids, positions: positions_BT }), 0);
    const { x_BTE, layers, routerLogits } = runLayers(stack, weights.layers, embedded);
    const last = weights.norm === undefined ? x_BTE : normalize(config.norm, weights.norm, x_BTE);
    const activations = inspector === undefined ? {} : { activations: inspector.activations };
    return { last, layers, routerLogits, ...activations };
  });
}

/** @throws HeddleError "config" where a token has two positions, which follow from the ids */
function defaultPositions({ span }: DecoderConfig, { device, shape }: Tensor): Tensor {
  if (span === undefined) return arange(device, shape[1] ?? 1);
  const message =
    "decoder: a model that fills spans must be given both positions of each token; got none. Make inputs with batchInputs.";
  throw new HeddleError("config", message, { span });
}

/**
 * Runs a stack of layers, one after another. In the scope of the caller.
 *
 * @returns the stream after the last [B, T, E], and what went into each where that is asked for
 */
export function runLayers(
  {
    context,
    inspector,
    keepLayers,
    keepRouterLogits = false,
  }: {
    readonly context: LayerContext;
    readonly inspector: Inspector | undefined;
    readonly keepLayers: boolean;
    readonly keepRouterLogits?: boolean;
  },
  weights: readonly LayerWeights[],
  embedded_BTE: Tensor,
): Omit<DecoderHiddenStates, "last" | "activations"> & { readonly x_BTE: Tensor } {
  const visit = (layer: number, x: Tensor) => inspector?.visit("residual", layer, x) ?? x;
  const layers: Tensor[] = [];
  const routerLogits: Tensor[] = [];
  const onRouterLogits = (logits: Tensor) => void routerLogits.push(logits);
  const observed = keepRouterLogits ? { ...context, onRouterLogits } : context;
  let x_BTE = visit(0, embedded_BTE);
  for (const [layer, layerWeights] of weights.entries()) {
    if (keepLayers) layers.push(x_BTE);
    const input = { x_BTE, layer };
    // What is kept of the layer has to outlive its scope.
    const result = scope(x_BTE.device, () => ({
      x_BTE: decoderLayer(observed, layerWeights, input),
      kept: [inspector?.activations, routerLogits],
    }));
    x_BTE = visit(layer + 1, result.x_BTE);
  }
  return { x_BTE, layers, routerLogits };
}

/** Logits of hidden states: [B, T, E] -> [B, T, V], by the unembedding or, where tied, the embedding. */
export function unembed(
  { head = {} }: DecoderConfig,
  { embedding, unembedding, unembeddingBias, headProjection }: DecoderWeights,
  hidden_BTE: Tensor,
): Tensor {
  const { scale, softcap } = head;
  const narrow_BTE = headProjection === undefined ? hidden_BTE : project(headProjection, hidden_BTE);
  const logits_BTV = linear(narrow_BTE, unembedding ?? embedding, unembeddingBias);
  const scaled_BTV = scale === undefined ? logits_BTV : mul(logits_BTV, scale);
  return softcap === undefined ? scaled_BTV : scaled_BTV.div(softcap).tanh().mul(softcap);
}

/** Dropout with a key of its own for the embedding (block 0) and each block after it. */
function dropper({ numLayers }: DecoderConfig, dropout: DecoderInputs["dropout"]): LayerContext["drop"] {
  if (dropout === undefined || dropout.rate === 0) return (x) => x;
  const keys = splitKey(dropout.key, 2 * numLayers + 1);
  return (x, block) => {
    const key = keys[block];
    invariant(key, `block ${block} has no dropout key`);
    return applyDropout(x, { rate: dropout.rate, key });
  };
}

function embed(
  { embedding: { scale } = {}, norm, positions: kind }: DecoderConfig,
  weights: DecoderWeights,
  { ids, positions }: { readonly ids: Tensor; readonly positions: Tensor },
): Tensor {
  const { embedding: table, embeddingNorm, embeddingProjection, positionEmbedding } = weights;
  const rows_BTE = embedding(ids, table);
  const dtype = activationDType(weights);
  const tokens_BTE = rows_BTE.dtype === dtype ? rows_BTE : rows_BTE.cast(dtype);
  const wide_BTE = embeddingProjection === undefined ? tokens_BTE : project(embeddingProjection, tokens_BTE);
  const scaled_BTE = scale === undefined ? wide_BTE : mul(wide_BTE, scale);
  const normed_BTE = embeddingNorm === undefined ? scaled_BTE : normalize(norm, embeddingNorm, scaled_BTE);
  if (positionEmbedding === undefined) return normed_BTE;
  const offset = kind.kind === "learned" ? (kind.offset ?? 0) : 0;
  const places = offset === 0 ? positions : add(positions, offset);
  return add(normed_BTE, embedding(places, positionEmbedding));
}
