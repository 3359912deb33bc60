import { codePointLength } from "./aligned-text.js";
import { utf8Length } from "./byte-level.js";
import type { Padding } from "./padding.js";
import { paddingTokens, TokenList, type TokenName } from "./token-list.js";

/**
 * The tokens of a text, or of a pair of texts.
 *
 * Ids and masks are typed arrays; token strings and offset pairs are built when first asked for.
 */
export class Encoding {
  readonly ids: Int32Array;
  /** 1 where a token was added by the post-processor (or by padding) and stands for no text. */
  readonly specialTokensMask: Uint8Array;
  /** Number of the segment that each token belongs to, as the post-processor's template says. */
  readonly typeIds: Uint8Array;
  /** 0 where a token is padding. */
  readonly attentionMask: Uint8Array;
  /** First UTF-16 unit of each token in its original text; 0 for added tokens. */
  readonly starts: Int32Array;
  /** One past the last UTF-16 unit. */
  readonly ends: Int32Array;
  /** 0 or 1: the text that each token came from; -1: none. */
  readonly sequenceIds: Int8Array;
  /** Further windows of a text that was truncated with overflow. */
  readonly overflowing: readonly Encoding[];
  private tokenTexts: readonly string[] | null = null;
  private bytePairs: readonly (readonly [number, number])[] | null = null;
  private offsetPairs: readonly (readonly [number, number])[] | null = null;
  private readonly lists: readonly TokenList[];

  /** @param lists  their arrays are copied and may change afterwards */
  constructor(
    lists: readonly TokenList[],
    private readonly nameOf: TokenName,
    overflowing: readonly Encoding[] = [],
  ) {
    const length = lists.reduce((sum, list) => sum + list.length, 0);
    this.ids = new Int32Array(length);
    this.specialTokensMask = new Uint8Array(length);
    this.typeIds = new Uint8Array(length);
    this.attentionMask = new Uint8Array(length).fill(1);
    this.starts = new Int32Array(length);
    this.ends = new Int32Array(length);
    this.sequenceIds = new Int8Array(length);
    this.overflowing = overflowing;
    let at = 0;
    this.lists = lists.map((list) => {
      const end = at + list.length;
      this.ids.set(list.ids, at);
      this.starts.set(list.starts, at);
      this.ends.set(list.ends, at);
      this.typeIds.fill(list.typeId, at, end);
      this.sequenceIds.fill(list.sequence, at, end);
      if (list.sequence < 0) this.specialTokensMask.fill(1, at, end);
      if (list.isPadding) this.attentionMask.fill(0, at, end);
      const own = new TokenList({
        ...list.parts,
        ids: this.ids.subarray(at, end),
        starts: this.starts.subarray(at, end),
        ends: this.ends.subarray(at, end),
      });
      at = end;
      return own;
    });
  }

  get length(): number {
    return this.ids.length;
  }

  /** Token strings as the vocabulary writes them; unknown text and added tokens show their own text. */
  get tokens(): readonly string[] {
    this.tokenTexts ??= this.lists.flatMap((list) =>
      Array.from({ length: list.length }, (_, i) =>
        list.sequence < 0 ? this.nameOf(list.ids[i] as number) : list.tokenText(i),
      ),
    );
    return this.tokenTexts;
  }

  /** [start, end) of each token in UTF-16 units of its original text. */
  get offsets(): readonly (readonly [number, number])[] {
    this.offsetPairs ??= Array.from(this.starts, (start, i) => [start, this.ends[i] as number] as const);
    return this.offsetPairs;
  }

  /** [start, end) of each token in UTF-8 bytes of its original text; [0, 0] for added tokens. */
  get byteOffsets(): readonly (readonly [number, number])[] {
    this.bytePairs ??= this.lists.flatMap((list) => {
      const bytesBefore = countBytes(list.source);
      const at = (unit: number) => bytesBefore[unit] ?? 0;
      return Array.from(list.starts, (start, i) => [at(start), at(list.ends[i] as number)] as const);
    });
    return this.bytePairs;
  }

  /** Returns an encoding of at least `length` tokens. */
  padded(length: number, options: Padding): Encoding {
    const overflowing = this.overflowing.map((window) => window.padded(length, options));
    const missing = Math.max(0, length - this.length);
    const { direction = "right", padId = 0, padTypeId = 0 } = options;
    const padding = missing === 0 ? [] : [paddingTokens(missing, padId, padTypeId)];
    const lists = direction === "right" ? [...this.lists, ...padding] : [...padding, ...this.lists];
    return new Encoding(lists, this.nameOf, overflowing);
  }
}

/** Counts the UTF-8 bytes before each UTF-16 unit; the second unit of a pair counts as behind its character. */
function countBytes(text: string): Int32Array {
  const before = new Int32Array(text.length + 1);
  let bytes = 0;
  for (let unit = 0; unit < text.length; ) {
    const width = codePointLength(text, unit);
    before[unit] = bytes;
    bytes += utf8Length(text, unit);
    if (width === 2) before[unit + 1] = bytes;
    unit += width;
  }
  before[text.length] = bytes;
  return before;
}
