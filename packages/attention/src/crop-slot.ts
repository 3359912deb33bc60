import { HeddleError, scope, tensor } from "@heddle/tensor";
import { type AnyCache, failPageless } from "./any-cache.js";
import { appendRows } from "./append-rows.js";
import type { KvLayer, QuantisedKvLayer, SlidingKvLayer } from "./kv-layer.js";
import type { LatentKvLayer } from "./latent.js";
import { dequantiseRows } from "./quantised-format.js";

/** A slot that holds positions 0..from-1 and is to hold 0..to-1. */
export interface CropRange {
  readonly from: number;
  readonly to: number;
}

/**
 * Takes back the last tokens of a slot, of `from` tokens all but the first `to`: rejected drafts of speculative decoding, a turn
 * of a chat that is asked again. The next token then goes to position `to`.
 *
 * What it does depends on the kind of layer. Contiguous and latent: nothing, rows behind a query's position are never seen.
 * Quantised: a group of keys that was complete and is open again gets its keys back as they were rounded. Sliding: nothing, but no
 * more than `maxNewTokens - 1` tokens can be taken back, since older ones may have been written over. Paged: the pages behind
 * are released.
 * @throws HeddleError "config" if not 0 <= to <= from, "capacity" if a sliding cache no longer has what the next query sees,
 * "unsupported" for the tensors of a paged cache without its pages
 * @returns nothing: the cache changes where its kind needs it
 * @see Leviathan et al. 2022, arXiv:2211.17192 (rejected tokens are taken back)
 */
export function cropSlot(cache: AnyCache, slot: number, range: CropRange): void {
  const { from, to } = range;
  if (!Number.isInteger(from) || !Number.isInteger(to) || to < 0 || to > from) {
    throw new HeddleError(
      "config",
      `cropSlot: a slot keeps its first tokens, 0 <= to <= from; got from ${from}, to ${to}. Give its length as from, what it keeps as to.`,
      { from, to },
    );
  }
  if ("pages" in cache) cache.crop(slot, to);
  else for (const layer of cache.layers) cropLayer(layer, slot, range);
}

function cropLayer(layer: KvLayer | LatentKvLayer, slot: number, range: CropRange): void {
  switch (layer.kind) {
    case undefined:
    case "contiguous":
    case "latent":
      return;
    case "sliding":
      checkRing(layer, range);
      return;
    case "quantised":
      reopenGroup(layer, slot, range);
      return;
    case "paged":
      failPageless("cropSlot");
      break;
    default:
      layer satisfies never;
  }
}

function checkRing({ key, window }: SlidingKvLayer, { from, to }: CropRange): void {
  const most = (key.shape[2] ?? 0) - window;
  const oldest = Math.max(0, to + 1 - window);
  if (from - to <= most || oldest >= from - (key.shape[2] ?? 0)) return;
  throw new HeddleError(
    "capacity",
    `cropSlot: a sliding cache can take back maxNewTokens - 1 tokens; got ${from - to} of ${most}, window ${window}. Create it with more maxNewTokens, or read the text again.`,
    { from, to, most, window },
  );
}

/** Writes the keys of the group that holds position `to` back to the tail, unless they still lie there. */
function reopenGroup(layer: QuantisedKvLayer, slot: number, { from, to }: CropRange): void {
  const { bits, group, keyTail } = layer;
  const first = Math.floor(to / group) * group;
  if (first === to || first >= from - (keyTail.shape[2] ?? 0)) return;
  const { device } = keyTail;
  scope(device, () => {
    const slots = tensor(device, Int32Array.of(slot));
    const [keys] = dequantiseRows(layer, { bits, group, slots, ends: tensor(device, Int32Array.of(from)) });
    const starts = tensor(device, Int32Array.of(first));
    appendRows({ key: keyTail }, { key: keys.narrow(2, first, to) }, { slots, starts, placement: "ring" });
    return undefined;
  });
}
