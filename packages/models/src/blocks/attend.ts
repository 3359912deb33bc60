import {
  allOf,
  appendKv,
  appendLatents,
  attention,
  cachedAttention,
  cachedLatentAttention,
  causal,
  type LatentKeys,
  type LatentQuery,
  type LatentWeights,
  type Mask,
  prefix,
  slidingWindow,
} from "@heddle/attention";
import { arange, concat, type Device, invariant, scope, type Tensor, tensor } from "@heddle/tensor";
import type { DecoderCache } from "../decoder/decoder-cache.js";

/** How scores become weights, besides who may be seen. */
export interface ScoreRules {
  /** Multiplies the scores before the softmax. */
  readonly scale: number;
  /** Caps scaled scores at +-softcap by tanh. */
  readonly softcap?: number | undefined;
  /** Positions that a query sees, its own included; undefined: all before it. */
  readonly window?: number | undefined;
  /** Scores fall by this much a head for each position between query and key, [H]. */
  readonly slopes?: readonly number[] | undefined;
  /** One logit a head that takes weight but gives no value: [H]. */
  readonly sinks?: Tensor | undefined;
}

/** What a layer hands to attention: rotated queries and keys, and values. */
export interface AttendInputs extends ScoreRules {
  readonly kind: "heads";
  readonly query_BHTD: Tensor;
  readonly key_BGTD: Tensor;
  readonly value_BGTD: Tensor;
}

/** What a layer of latent attention hands over: keys and values are still one latent a token. */
export interface LatentAttendInputs extends ScoreRules {
  readonly kind: "latent";
  readonly query: LatentQuery;
  readonly keys: LatentKeys;
  /** The latents of this call written out: keys and values of every head. */
  expand(): { readonly key_BHTD: Tensor; readonly value_BHTD: Tensor };
}

/** How the tokens of a call see each other and the past: chosen by the caller, unknown to the blocks. [B, H, T, Dv] */
export type Attend = (layer: number, inputs: AttendInputs | LatentAttendInputs) => Tensor;

/** Every token sees those of its row that the mask allows; nothing is kept. For training and whole-text logits. */
export function fullAttend({ mask = causal() }: { readonly mask?: Mask } = {}): Attend {
  return (_, inputs) => {
    const { query_BHTD, key_BGTD, value_BGTD, ...rules } = asHeads(inputs);
    const { scale, softcap, window, slopes, sinks } = rules;
    const distanceBias = slopes && slopingBias(slopes, query_BHTD);
    return attention(query_BHTD, key_BGTD, value_BGTD, {
      mask: window === undefined ? mask : allOf(mask, slidingWindow(window)),
      scale,
      ...(softcap === undefined ? {} : { softcap }),
      ...(distanceBias === undefined ? {} : { distanceBias }),
      ...(sinks === undefined ? {} : { sinks }),
    });
  };
}

/** Latents written out, where they are not heads already. */
export function asHeads(inputs: AttendInputs | LatentAttendInputs): AttendInputs {
  if (inputs.kind === "heads") return inputs;
  const { kind, query, keys, expand, ...rules } = inputs;
  const { key_BHTD, value_BHTD } = expand();
  const query_BHTD = concat([query.content, query.rotated], { axis: 3 });
  return { kind: "heads", ...rules, query_BHTD, key_BGTD: key_BHTD, value_BGTD: value_BHTD };
}

/** -slope |n| for the distances n from -(T - 1) to T - 1 of one text: [H, 2 T - 1]. */
function slopingBias(slopes: readonly number[], { device, shape }: Tensor): Tensor {
  const length = shape[2] ?? 0;
  const distances = arange(device, 2 * length - 1, { dtype: device.defaultFloat }).sub(length - 1);
  const falls = slopes.map((slope) => -slope);
  return tensor(device, falls, { shape: [slopes.length, 1], dtype: device.defaultFloat }).mul(
    distances.abs(),
  );
}

/**
 * Row b continues the sequence in slot `slots[b]` of a cache at position `starts[b]`: its keys and values are written
 * there, and it sees everything in that slot up to itself.
 *
 * @param options.latentWeights  of each layer whose cache keeps latents
 */
export function cacheAttend(
  cache: DecoderCache,
  {
    slots_B,
    starts_B,
    latentWeights = [],
  }: {
    readonly slots_B: Tensor;
    readonly starts_B: Tensor;
    readonly latentWeights?: readonly (LatentWeights | undefined)[];
  },
): Attend {
  const rows = { slots: slots_B, starts: starts_B };
  return (layer, inputs) => {
    const layerCache = cache.layers[layer];
    invariant(layerCache, `the cache has no layer ${layer}`);
    const { scale, softcap } = inputs;
    const scores = { ...rows, scale, ...(softcap === undefined ? {} : { softcap }) };
    if (layerCache.kind === "latent") {
      const weights = latentWeights[layer];
      invariant(inputs.kind === "latent" && weights, `layer ${layer} has latents and their weights`);
      appendLatents(layerCache, inputs.keys, rows);
      return cachedLatentAttention(inputs.query, layerCache, { ...scores, weights });
    }
    const { query_BHTD, key_BGTD, value_BGTD, window, slopes, sinks } = asHeads(inputs);
    appendKv(layerCache, key_BGTD, value_BGTD, rows);
    return scope(query_BHTD.device, () => {
      const maxSeqLen = layerCache.key.shape[2] ?? 0;
      const distanceBias =
        slopes && fallingBias(slopes, query_BHTD.device, Math.min(maxSeqLen, window ?? maxSeqLen));
      return cachedAttention(query_BHTD, layerCache, {
        ...scores,
        ...(window === undefined ? {} : { window }),
        ...(distanceBias === undefined ? {} : { distanceBias }),
        ...(sinks === undefined ? {} : { sinks }),
      });
    });
  };
}

/** -slope n for a key n tokens before its query: [H, N]. */
function fallingBias(slopes: readonly number[], device: Device, numDistances: number): Tensor {
  const distances = arange(device, numDistances, { dtype: device.defaultFloat });
  const falls = slopes.map((slope) => -slope);
  return tensor(device, falls, { shape: [slopes.length, 1], dtype: device.defaultFloat }).mul(distances);
}

/**
 * Row b is the whole prompt of a sequence: keys and values are written to slot `slots[b]` from position 0 on, and every token sees the
 * first `contexts[b]` of its row, before and behind, and all before itself. What follows the prompt fills the row up.
 */
export function prefixAttend(
  cache: DecoderCache,
  { slots_B, contexts_B }: { readonly slots_B: Tensor; readonly contexts_B: Tensor },
): Attend {
  return (layer, inputs) => {
    const layerCache = cache.layers[layer];
    invariant(layerCache, `the cache has no layer ${layer}`);
    const rows = { slots: slots_B, starts: contexts_B.mul(0) };
    const heads = asHeads(inputs);
    if (layerCache.kind === "latent") {
      invariant(inputs.kind === "latent", `layer ${layer} has latents`);
      appendLatents(layerCache, inputs.keys, rows);
    } else appendKv(layerCache, heads.key_BGTD, heads.value_BGTD, rows);
    return fullAttend({ mask: prefix(contexts_B) })(layer, heads);
  };
}
