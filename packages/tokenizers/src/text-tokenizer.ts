import {
  type AddedToken,
  type AddedTokenFinder,
  createAddedTokenFinder,
  type Segment,
} from "./added-tokens.js";
import type { AlignedText } from "./aligned-text.js";
import type { CompiledModel } from "./models/model.js";
import type { CompiledNormalizer } from "./normalizers/compiled.js";
import type { CompiledPreTokenizer } from "./pre-tokenizers/pre-tokenizer.js";
import type { Scanner } from "./pre-tokenizers/scanners/scanner.js";
import { TextUnits } from "./text-units.js";
import type { Kept, TokenBuffer } from "./token-buffer.js";
import type { TokenNames } from "./token-names.js";
import { WordTokenizer } from "./word-tokenizer.js";

/** The parts that a text passes, ready to run. */
export interface TextTokenizerParts {
  readonly normalizer: CompiledNormalizer | null;
  readonly preTokenizer: CompiledPreTokenizer;
  readonly model: CompiledModel;
  readonly names: TokenNames;
  readonly isRandom: boolean;
}

/** Room for so many tokens at most is made before the first: pages that no token reaches cost nothing. */
const MAX_RESERVED = 1 << 20;

/** The way of a text from its units to tokens in a buffer: added tokens, normalizer, words, model. */
export class TextTokenizer {
  private readonly finder: AddedTokenFinder;
  private readonly words: WordTokenizer;
  private readonly units = new TextUnits();

  constructor(private readonly parts: TextTokenizerParts) {
    this.finder = createAddedTokenFinder(parts.names.addedTokens, parts.normalizer);
    this.words = new WordTokenizer(parts.model, {
      bytes: parts.preTokenizer.bytes,
      isRandom: parts.isRandom,
    });
    // Where a text is one word, every text of some length is cut.
    if (parts.preTokenizer.isWhole) this.words.prepareCuts();
  }

  /** True if a word always ends between a letter or digit and white space, and no added token reaches across. */
  get endsWordsAtSpaces(): boolean {
    const { normalizer, preTokenizer, names } = this.parts;
    const { scanner, prepare } = preTokenizer;
    const isInPlace = prepare === null && (normalizer === null || normalizer.prefixUnits === 0);
    const staysApart = names.addedTokens.every(
      ({ content, rstrip }) => !rstrip && !/\p{White_Space}/u.test(content),
    );
    return scanner?.endsAtSpaces === true && isInPlace && staysApart;
  }

  /**
   * Empties the buffer and puts the tokens of a text into it.
   *
   * @param options.parseSpecial  false: special tokens are ordinary text
   * @param options.keeps  what is wanted of each token
   */
  fill(
    buffer: TokenBuffer,
    text: string,
    options: { readonly parseSpecial: boolean; readonly keeps: Kept },
  ): void {
    const { preTokenizer } = this.parts;
    buffer.clear(options.keeps);
    if (buffer.keepsIds) buffer.reserve(Math.min(text.length, MAX_RESERVED));
    if (this.fillInPlace(buffer, text, options.parseSpecial)) return;
    const track = buffer.keepsRanges || preTokenizer.needsAlignment;
    for (const segment of this.finder.split(text, { parseSpecial: options.parseSpecial, track })) {
      if (segment.token !== null) this.addToken(segment, segment.token, buffer);
      else if (preTokenizer.scanner !== null) this.addScanned(segment.text, preTokenizer.scanner, buffer);
      else this.addSplit(segment.text, buffer);
    }
    this.units.clear();
  }

  /**
   * The quick way where every word of the normalised text stands where it stood in the original one: all of it is read
   * at once, however many added tokens lie in between. Where something is put before a text, each stretch between added
   * tokens is read by itself. False if the parts are not of that kind.
   */
  private fillInPlace(buffer: TokenBuffer, text: string, parseSpecial: boolean): boolean {
    const { normalizer, preTokenizer, names } = this.parts;
    const { scanner, prepare } = preTokenizer;
    const { scan } = this.finder;
    const prefixUnits = normalizer === null ? 0 : normalizer.prefixUnits;
    const isInPlace = scanner !== null && prepare === null && scan !== null && prefixUnits !== null;
    if (!isInPlace || (scanner.isBounded === false && prefixUnits === 0)) return false;
    const { units, words } = this;
    if (prefixUnits === 0) {
      units.load(normalizer?.apply(text) ?? text);
      words.begin(units, buffer, 0);
    }
    scan(text, parseSpecial, (start, end, token) => {
      if (token !== null) {
        const surface = end - start === token.content.length ? token.content : text.slice(start, end);
        if (surface !== names.tokenOf(token.id)) buffer.pushSurface(token.id, [start, end], surface);
        else buffer.push(token.id, start, end);
      } else if (prefixUnits === 0) {
        this.addWords(scanner, start, end);
      } else {
        const before = buffer.length;
        units.load(normalizer?.apply(text.slice(start, end)) ?? "");
        words.begin(units, buffer, start - prefixUnits);
        this.addWords(scanner, 0, units.length);
        normalizer?.coverPrefix?.(buffer, before, { text, start });
      }
    });
    units.clear();
    return true;
  }

  private addWords(scanner: Scanner, start: number, end: number): void {
    const { units, words } = this;
    scanner.start(units.text);
    for (let at = start; at < end; ) {
      const next = scanner.next(units.units, at, end);
      words.append(at, next);
      at = next;
    }
  }

  private addToken({ text }: Segment, { id }: AddedToken, buffer: TokenBuffer): void {
    const start = text.starts?.[0] ?? text.base;
    const end = text.ends?.at(-1) ?? text.base + text.text.length;
    if (text.text !== this.parts.names.tokenOf(id)) buffer.pushSurface(id, [start, end], text.text);
    else buffer.push(id, start, end);
  }

  /** The common case: words are found in the units of the text one by one, and no list of pieces is built. */
  private addScanned(piece: AlignedText, scanner: Scanner, buffer: TokenBuffer): void {
    const { units, words } = this;
    const text = this.parts.preTokenizer.prepare?.(piece) ?? piece;
    const before = buffer.length;
    units.load(text.text);
    words.begin(units, buffer, text.starts === null ? text.base : 0);
    this.addWords(scanner, 0, units.length);
    moveToOriginal(buffer, before, text);
  }

  private addSplit(piece: AlignedText, buffer: TokenBuffer): void {
    const { units, words } = this;
    const pieces: AlignedText[] = [];
    this.parts.preTokenizer.split(piece, pieces);
    for (const word of pieces) {
      const before = buffer.length;
      units.load(word.text);
      words.begin(units, buffer, word.starts === null ? word.base : 0);
      words.append(0, units.length);
      moveToOriginal(buffer, before, word);
    }
  }
}

/** Turns ranges in units of an aligned text, from token `from` on, into ranges of the original one. */
function moveToOriginal(buffer: TokenBuffer, from: number, text: AlignedText): void {
  if (text.starts === null || text.ends === null || !buffer.keepsRanges) return;
  const { starts, ends, length } = buffer;
  for (let i = from; i < length; i++) {
    const first = starts[i] as number;
    const last = (ends[i] as number) - 1;
    const start = text.starts[first] ?? 0;
    starts[i] = start;
    ends[i] = last < first ? start : (text.ends[last] as number);
  }
}
