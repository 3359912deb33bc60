import type { CachedAttentionParams, CachedInput } from "../cached-params.js";

/** `cell(slot, head, position)`: the row of a position in the stores, negative where it has none. */
export function cellFunction({ placement }: CachedAttentionParams): string {
  // Positions of a contiguous cache are smaller than its length; no division for them.
  if (placement === "contiguous") {
    return `fn cell(slot: u32, head: u32, position: u32) -> i32 {
  return i32((slot * P.kvHeads + head) * P.blockRows + position);
}`;
  }
  const block =
    placement === "paged"
      ? "load_table(slot * (P.maxSeqLen / P.blockRows) + position / P.blockRows)"
      : "i32(slot)";
  return `fn cell(slot: u32, head: u32, position: u32) -> i32 {
  let block = ${block};
  return select(i32((u32(block) * P.kvHeads + head) * P.blockRows + position % P.blockRows), -1, block < 0);
}`;
}

/**
 * Statements that say which keys query t of row b sees: `isInside`, its `position`, keys `begin` up to `end`, those below
 * `complete` being rounded where the cache rounds; `safeSlot` may be read from in any case.
 */
export function keyRange({ isCausal, left, chunk, format }: CachedAttentionParams): string {
  const length = isCausal ? "u32(start) + P.queryLen" : "u32(start + i32(P.queryLen))";
  const inside = isCausal ? "start >= 0" : "start + i32(P.queryLen) >= 0";
  const first = [
    left === undefined ? undefined : `max(0, i32(position) - ${left})`,
    chunk === undefined ? undefined : `i32(position) - i32(position) % ${chunk}`,
  ].filter((text) => text !== undefined);
  const begin = first.length === 0 ? "0" : first.reduce((a, c) => `max(${a}, ${c})`);
  return `  let slot = load_slots(b);
  let start = load_starts(b);
  let isInside = slot >= 0 && u32(max(slot, 0)) < P.numSlots && ${inside} && ${length} <= P.maxSeqLen;
  let position = select(0u, u32(start) + t, ${isCausal ? "isInside" : "false"});
  let end = select(0u, ${isCausal ? "position + 1u" : length}, isInside);
  let begin = u32(${begin});
  let complete = select(0u, ((${length}) / ${format?.group ?? 1}u) * ${format?.group ?? 1}u, isInside);
  let safeSlot = u32(max(slot, 0));`;
}

/** Statements that turn `value`, a scaled product of query t of head h and key j, into a score. */
export function scoreText({ softcap, inputs }: CachedAttentionParams): string {
  const has = (name: CachedInput) => inputs.includes(name);
  return [
    softcap === undefined ? "" : "value = P.softcap * h_tanh(value / P.softcap);",
    has("bias")
      ? "value += load_bias(((b * P.biasBatch + h * P.biasHead) * P.queryLen + t) * P.maxSeqLen + j);"
      : "",
    has("distanceBias") ? "value += load_distanceBias(h * P.distances + position - j);" : "",
  ].join(" ");
}
