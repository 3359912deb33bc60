import type { PackedTokens } from "./vocabulary.js";
import { type AppendLone, createWordCuts, ID_SHIFT, JOINED, type WordCuts } from "./word-cuts.js";

/** Bits of the first byte of a character with so many more. */
const LEADS = [0, 0xc0, 0xe0];

/**
 * Prepares the search for places where words can be cut, and the quick way for lone characters, as most are in Chinese:
 * their tokens are found by the unit alone and written one after the other. Twin: cutting, then the model.
 *
 * @param packed  holds all that may come out of merging
 * @param byteIds  tokens of the bytes that a character becomes which is in no token; null: it is for the model
 * @param reach  1: each of these covers the character; 0: only the last one does
 */
export function createLoneCuts(
  packed: PackedTokens,
  byteIds: readonly number[] | null,
  reach: 0 | 1 = 1,
): WordCuts {
  const bytes = byteIds ?? [];
  const createAppend =
    (kinds: Int32Array): AppendLone =>
    ({ units, start, end }, out, base) => {
      const { ids, starts, ends, keepsIds, keepsRanges } = out;
      let to = out.length;
      let at = start;
      for (; at < end; at++) {
        const unit = units[at] as number;
        const kind = kinds[unit] as number;
        if ((kind & JOINED) !== 0 || (kind === 0 && byteIds === null)) break;
        ids[to] = kind >> ID_SHIFT;
        const first = base + at;
        if (keepsRanges) {
          starts[to] = first;
          ends[to] = first + 1;
        }
        if (kind === 0) {
          // The same steps for all lengths, so that compiled code meets nothing new at the first character of another one.
          const more = (unit > 0x7f ? 1 : 0) + (unit > 0x7ff ? 1 : 0);
          ids[to] = bytes[(LEADS[more] as number) | (unit >> (6 * more))] as number;
          ids[to + 1] = bytes[0x80 | ((unit >> (6 * more - 6)) & 0x3f)] as number;
          ids[to + 2] = bytes[0x80 | (unit & 0x3f)] as number;
          if (keepsRanges) {
            starts[to + 1] = starts[to + 2] = first;
            ends[to] = ends[to + 1] = ends[to + 2] = first + reach;
            ends[to + more] = first + 1;
          }
          to += more;
        }
        to++;
      }
      // What found no room was not written.
      if (keepsIds && to > ids.length) {
        out.reserve(to - out.length);
        return start;
      }
      out.length = to;
      return at;
    };
  return createWordCuts(packed, byteIds !== null, createAppend);
}
