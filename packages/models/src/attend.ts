import {
  allOf,
  appendKv,
  attention,
  type CacheRows,
  cachedAttention,
  causal,
  type KvCache,
  type KvCacheLayer,
  type Mask,
  slidingWindow,
} from "@heddle/attention";
import { arange, type Device, invariant, type Tensor, take, tensor, where } from "@heddle/tensor";

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
function distanceBias(slopes: readonly number[], { device, shape }: Tensor): Tensor {
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
    const { scale, softcap, window, slopes, sinks } = rules;
    if (slopes !== undefined || sinks !== undefined)
      return attendToSlots(query_BHTD, layerCache, { ...rules, ...rows });
    return cachedAttention(query_BHTD, layerCache, {
      ...rows,
      scale,
      ...(softcap === undefined ? {} : { softcap }),
      ...(window === undefined ? {} : { window }),
    });
  };
}

/** Attention over cached keys with terms that depend on position: the slots are copied out, and a bias hides what lies after. */
function attendToSlots(
  query_BHTD: Tensor,
  layer: KvCacheLayer,
  { slots, starts, scale, softcap, window, slopes, sinks }: ScoreRules & CacheRows,
): Tensor {
  const { device } = query_BHTD;
  const [numRows = 0, , length = 0] = query_BHTD.shape;
  const maxSeqLen = layer.key.shape[2] ?? 0;
  const tokens = arange(device, length).reshape([1, 1, length, 1]);
  const position = starts.reshape([numRows, 1, 1, 1]).add(tokens);
  const distance = arange(device, maxSeqLen).reshape([1, 1, 1, maxSeqLen]).sub(position); // [B, 1, T, S]
  const past = distance.lessEqual(0);
  const sees = window === undefined ? past : past.logicalAnd(distance.greater(-window));
  const fall = distance.cast(device.defaultFloat).mul(slopes === undefined ? 0 : perHead(slopes, device));
  const bias = where(sees, fall, unseen);
  const [key, value] = [layer.key, layer.value].map((kept) => take(kept, slots).cast(query_BHTD.dtype));
  invariant(key && value, "a cache layer has keys and values");
  return attention(query_BHTD, key, value, {
    bias,
    scale,
    ...(softcap === undefined ? {} : { softcap }),
    ...(sinks === undefined ? {} : { sinks }),
  });
}

/** A bias that leaves no weight: finite, so that differences stay numbers. */
const unseen = -1e30;
