import { appendKv, attention, cachedAttention, causal, type KvCache, type Mask } from "@heddle/attention";
import { invariant, type Tensor } from "@heddle/tensor";

/** What a layer hands to attention: rotated queries and keys, and values. */
export interface AttendInputs {
  readonly query_BHTD: Tensor;
  readonly key_BGTD: Tensor;
  readonly value_BGTD: Tensor;
  /** Multiplies the scores before the softmax. */
  readonly scale: number;
}

/** How the tokens of a call see each other and the past: chosen by the caller, unknown to the blocks. [B, H, T, D] */
export type Attend = (layer: number, inputs: AttendInputs) => Tensor;

/** Every token sees those of its row that the mask allows; nothing is kept. For training and whole-text logits. */
export function fullAttend({ mask = causal() }: { readonly mask?: Mask } = {}): Attend {
  return (_, { query_BHTD, key_BGTD, value_BGTD, scale }) =>
    attention(query_BHTD, key_BGTD, value_BGTD, { mask, scale });
}

/**
 * Row b continues the sequence in slot `slots[b]` of a cache at position `starts[b]`: its keys and values are written
 * there, and it sees everything in that slot up to itself.
 */
export function cacheAttend(
  cache: KvCache,
  { slots_B, starts_B }: { readonly slots_B: Tensor; readonly starts_B: Tensor },
): Attend {
  return (layer, { query_BHTD, key_BGTD, value_BGTD, scale }) => {
    const layerCache = cache.layers[layer];
    invariant(layerCache, `the cache has no layer ${layer}`);
    appendKv(layerCache, key_BGTD, value_BGTD, { slots: slots_B, starts: starts_B });
    return cachedAttention(query_BHTD, layerCache, { slots: slots_B, starts: starts_B, scale });
  };
}
