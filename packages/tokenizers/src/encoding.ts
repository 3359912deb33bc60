import { codePointLength } from "./aligned-text.js";
import { utf8Length } from "./byte-level.js";
import { joinValues } from "./join-values.js";
import type { Padding } from "./padding.js";
import { paddingTokens, TokenList, type TokenName } from "./token-list.js";

/**
 * The tokens of a text, or of a pair of texts.
 *
 * Ids, ranges and masks are typed arrays. Only ids and ranges are made at once; masks, token strings and offset pairs
 * when they are first asked for. Ids and ranges of a long text may be views of buffers that are some percent longer, with
 * zeros behind; each has a buffer of its own, to be handed to a worker.
 */
export class Encoding {
  readonly ids: Int32Array;
  /** First UTF-16 unit of each token in its original text; 0 for added tokens. */
  readonly starts: Int32Array;
  /** One past the last UTF-16 unit. */
  readonly ends: Int32Array;
  /** Further windows of a text that was truncated with overflow. */
  readonly overflowing: readonly Encoding[];
  private tokenTexts: readonly string[] | null = null;
  private bytePairs: readonly (readonly [number, number])[] | null = null;
  private offsetPairs: readonly (readonly [number, number])[] | null = null;
  /** Masks that somebody asked for. */
  private readonly masks: Uint8Array<ArrayBuffer>[] = [];
  private readonly lists: readonly TokenList[];

  /** @param lists  the arrays of one alone are kept, those of several joined */
  constructor(
    lists: readonly TokenList[],
    private readonly nameOf: TokenName,
    overflowing: readonly Encoding[] = [],
  ) {
    this.ids = joinValues(lists.map(({ ids }) => ids));
    this.starts = joinValues(lists.map(({ starts }) => starts));
    this.ends = joinValues(lists.map(({ ends }) => ends));
    this.overflowing = overflowing;
    let at = 0;
    this.lists = lists.map((list) => {
      const end = at + list.length;
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

  /** 1 where a token was added by the post-processor (or by padding) and stands for no text. */
  get specialTokensMask(): Uint8Array {
    return this.mask(0, (list) => (list.sequence < 0 ? 1 : 0));
  }

  /** Number of the segment that each token belongs to, as the post-processor's template says. */
  get typeIds(): Uint8Array {
    return this.mask(1, (list) => list.typeId);
  }

  /** 0 where a token is padding. */
  get attentionMask(): Uint8Array {
    return this.mask(2, (list) => (list.isPadding ? 0 : 1));
  }

  /** 0 or 1: the text that each token came from; -1: none. */
  get sequenceIds(): Int8Array {
    return new Int8Array(this.mask(3, (list) => list.sequence).buffer);
  }

  /** Gives the tokens of each list one value. */
  private mask(kind: number, of: (list: TokenList) => number): Uint8Array<ArrayBuffer> {
    if (this.masks[kind] === undefined) {
      const mask = new Uint8Array(this.length);
      let at = 0;
      for (const list of this.lists) {
        mask.fill(of(list), at, at + list.length);
        at += list.length;
      }
      this.masks[kind] = mask;
    }
    return this.masks[kind];
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

  /** Returns an encoding of at least `length` tokens; the same arrays where none is missing. */
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
