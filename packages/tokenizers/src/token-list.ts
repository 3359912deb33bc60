/** Looks up what the vocabulary calls an id. */
export type TokenName = (id: number) => string;

/** Type of a token list's parts in a pair: 0 first text, 1 second. */
interface TokenListParts {
  readonly ids: Int32Array;
  readonly starts: Int32Array;
  readonly ends: Int32Array;
  readonly surfaces: ReadonlyMap<number, string>;
  readonly nameOf: TokenName;
  readonly typeId: number;
  /** 0 or 1: the text it came from; -1: added by the post-processor. */
  readonly sequence: number;
  readonly isPadding?: boolean;
  /** The original text that the ranges are of; none for added tokens. */
  readonly source?: string;
}

/** The tokens of one text (or one added special token) before they are joined; never changed in place. */
export class TokenList {
  readonly ids: Int32Array;
  readonly starts: Int32Array;
  readonly ends: Int32Array;
  readonly typeId: number;
  readonly sequence: number;

  constructor(readonly parts: TokenListParts) {
    this.ids = parts.ids;
    this.starts = parts.starts;
    this.ends = parts.ends;
    this.typeId = parts.typeId;
    this.sequence = parts.sequence;
  }

  /** True if these tokens only fill up a batch. */
  get isPadding(): boolean {
    return this.parts.isPadding === true;
  }

  /** The original text that the ranges are of; "" for added tokens. */
  get source(): string {
    return this.parts.source ?? "";
  }

  get length(): number {
    return this.ids.length;
  }

  tokenText(index: number): string {
    return this.parts.surfaces.get(index) ?? this.parts.nameOf(this.ids[index] as number);
  }

  slice(from: number, to: number): TokenList {
    const surfaces = new Map<number, string>();
    for (const [index, text] of this.parts.surfaces) {
      if (index >= from && index < to) surfaces.set(index - from, text);
    }
    return new TokenList({
      ...this.parts,
      ids: this.ids.slice(from, to),
      starts: this.starts.slice(from, to),
      ends: this.ends.slice(from, to),
      surfaces,
    });
  }
}

/** The same tokens with another type. */
export function withTypeId(list: TokenList, typeId: number): TokenList {
  return typeId === list.typeId ? list : new TokenList({ ...list.parts, typeId });
}

/** The same tokens with other ranges. */
export function withOffsets(list: TokenList, starts: Int32Array, ends: Int32Array): TokenList {
  return new TokenList({ ...list.parts, starts, ends });
}

const NO_SURFACES: ReadonlyMap<number, string> = new Map();

/** A special token that stands at no place of the text. */
export function specialToken(id: number, typeId: number): TokenList {
  return tokensOfNoText(Int32Array.of(id), typeId, false);
}

/** Tokens that fill up a batch. */
export function paddingTokens(count: number, id: number, typeId: number): TokenList {
  return tokensOfNoText(new Int32Array(count).fill(id), typeId, true);
}

function tokensOfNoText(ids: Int32Array, typeId: number, isPadding: boolean): TokenList {
  return new TokenList({
    ids,
    starts: new Int32Array(ids.length),
    ends: new Int32Array(ids.length),
    surfaces: NO_SURFACES,
    nameOf: () => "",
    typeId,
    sequence: -1,
    isPadding,
  });
}
