import {
  allOf,
  appendKv,
  attention,
  cachedAttention,
  causal,
  type KvCache,
  type Mask,
  slidingWindow,
} from "@heddle/attention";
import { arange, type Device, invariant, scope, type Tensor, tensor } from "@heddle/tensor";

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
  readonly query_BHTD: Tensor;
  readonly key_BGTD: Tensor;
  readonly value_BGTD: Tensor;
}

/** How the tokens of a call see each other and the past: chosen by the caller, unknown to the blocks. [B, H, T, Dv] */
export type Attend = (layer: number, inputs: AttendInputs) => Tensor;

/** Every token sees those of its row that the mask allows; nothing is kept. For training and whole-text logits. */
export function fullAttend({ mask = causal() }: { readonly mask?: Mask } = {}): Attend {
  return (_, { query_BHTD, key_BGTD, value_BGTD, ...rules }) => {
    const { scale, softcap, window, slopes, sinks } = rules;
    const bias = slopes && distanceBias(slopes, query_BHTD);
    return attention(query_BHTD, key_BGTD, value_BGTD, {
      mask: window === undefined ? mask : allOf(mask, slidingWindow(window)),
      scale,
      ...(softcap === undefined ? {} : { softcap }),
      ...(bias === undefined ? {} : { bias }),
      ...(sinks === undefined ? {} : { sinks }),
    });
  };
}

/** -slope (i - j) for query i and key j of one text: [1, H, T, T]. */
export function distanceBias(slopes: readonly number[], { device, shape }: Tensor): Tensor {
  const length = shape[2] ?? 0;
  const positions = arange(device, length, { dtype: device.defaultFloat });
  const distance = positions.reshape([1, 1, 1, length]).sub(positions.reshape([1, 1, length, 1]));
  return distance.mul(perHead(slopes, device));
}

function perHead(slopes: readonly number[], device: Device): Tensor {
  return tensor(device, slopes, { shape: [1, slopes.length, 1, 1], dtype: device.defaultFloat });
}

/**
 * Row b continues the sequence in slot `slots[b]` of a cache at position `starts[b]`: its keys and values are written
 * there, and it sees everything in that slot up to itself.
 */
export function cacheAttend(
  cache: KvCache,
  { slots_B, starts_B }: { readonly slots_B: Tensor; readonly starts_B: Tensor },
): Attend {
  return (layer, { query_BHTD, key_BGTD, value_BGTD, ...rules }) => {
    const layerCache = cache.layers[layer];
    invariant(layerCache, `the cache has no layer ${layer}`);
    const rows = { slots: slots_B, starts: starts_B };
    appendKv(layerCache, key_BGTD, value_BGTD, rows);
    return scope(query_BHTD.device, () => {
      const { scale, softcap, window, slopes, sinks } = rules;
      const maxSeqLen = layerCache.key.shape[2] ?? 0;
      const distanceBias =
        slopes && fallingBias(slopes, query_BHTD.device, Math.min(maxSeqLen, window ?? maxSeqLen));
      return cachedAttention(query_BHTD, layerCache, {
        ...rows,
        scale,
        ...(softcap === undefined ? {} : { softcap }),
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
