import { type AddedToken, type AddedTokenFinder, createAddedTokenFinder } from "./added-tokens.js";
import type { AlignedText } from "./aligned-text.js";
import { HeddleError } from "./error.js";
import type { CompiledModel } from "./models/compiled.js";
import type { CompiledNormalizer } from "./normalizers/compiled.js";
import type { Scanner } from "./pre-tokenizers/scanners/scanner.js";
import type { WordFinder } from "./pre-tokenizers/word-finder.js";
import { TextUnits } from "./text-units.js";
import type { TokenBuffer } from "./token-buffer.js";
import type { TokenNames } from "./token-names.js";
import { WordTokenizer } from "./word-tokenizer.js";

/** The parts that a text passes, ready to run. */
export interface TextTokenizerParts {
  readonly normalizer: CompiledNormalizer | null;
  readonly preTokenizer: WordFinder;
  readonly model: CompiledModel;
  readonly names: TokenNames;
  readonly isRandom: boolean;
}

/**
 * A text of more units is read in windows of so many, where its pattern says that a word has ended or a word can be cut:
 * what is written to memory for the first time costs most of reading.
 */
const WINDOW = 1 << 15;

/** The way of a text from its units to tokens in a buffer: added tokens, normalizer, words, model. */
export class TextTokenizer {
  private readonly finder: AddedTokenFinder;
  private readonly words: WordTokenizer;
  private readonly units = new TextUnits();

  constructor(private readonly parts: TextTokenizerParts) {
    this.finder = createAddedTokenFinder(parts.names.addedTokens, parts.normalizer);
    const { bytes, isWhole } = parts.preTokenizer;
    this.words = new WordTokenizer(parts.model, { bytes, isWhole, isRandom: parts.isRandom });
  }

  /** True if a word always ends between a letter or digit and white space, and no added token reaches across. */
  get endsWordsAtSpaces(): boolean {
    const { normalizer, preTokenizer, names } = this.parts;
    const { scanner, prepare } = preTokenizer;
    const isInPlace = prepare === null && (normalizer === null || normalizer.inPlace?.prefix === "");
    const staysApart = names.addedTokens.every(
      ({ content, rstrip }) => !rstrip && !/\p{White_Space}/u.test(content),
    );
    return scanner?.lastEnd !== undefined && isInPlace && staysApart;
  }

  /**
   * Empties the buffer and puts the tokens of a text into it.
   *
   * @param options.parseSpecial  false: special tokens are ordinary text
   * @param options.keepsIds  false: tokens are only counted
   * @throws HeddleError "config" if the text is no string
   */
  fill(
    buffer: TokenBuffer,
    text: string,
    options: { readonly parseSpecial: boolean; readonly keepsIds?: boolean },
  ): void {
    if (typeof text !== "string")
      throw new HeddleError(
        "config",
        `encode: the text must be a string; got ${typeof text}. Decode bytes first, give lists to encodeBatch.`,
        { text },
      );
    const { parseSpecial, keepsIds } = options;
    buffer.clear(keepsIds);
    buffer.reserve(Math.min(3 * text.length, buffer.firstRoom));
    if (this.fillInPlace(buffer, text, parseSpecial)) return;
    const track = buffer.keepsRanges || this.parts.preTokenizer.needsAlignment;
    for (const segment of this.finder.split(text, { parseSpecial, track })) {
      if (segment.token === null) this.addPieces(segment.text, buffer);
      else {
        const { text } = segment;
        const start = text.starts?.[0] ?? text.base;
        const end = text.ends?.at(-1) ?? text.base + text.text.length;
        this.pushAdded(buffer, segment.token, [start, end], text.text);
      }
    }
    this.units.clear();
  }

  /**
   * The quick way where every word of the normalised text stands where it stood in the original one: it is read window
   * by window, however many added tokens lie in between. A unit that is put before each stretch between added tokens
   * takes the place of the one before it, which the last of these tokens had. False if the parts are not of that kind.
   */
  private fillInPlace(buffer: TokenBuffer, text: string, parseSpecial: boolean): boolean {
    const { normalizer, preTokenizer } = this.parts;
    const { scanner, prepare } = preTokenizer;
    const { scan } = this.finder;
    const change = normalizer?.inPlace ?? null;
    const prefix = change?.prefix ?? "";
    const isInPlace =
      scanner !== null && prepare === null && scan !== null && (normalizer === null || change !== null);
    if (!isInPlace || scanner.isBounded === false || prefix.length > 1) return false;
    const { units, words } = this;
    const room = prefix.length;
    const endsAtCuts = scanner.isLocal === true && words.hasCuts;
    /** Which units of the text are read. */
    let [from, to] = [0, 0];
    scan(text, parseSpecial, (start, end, token) => {
      if (token !== null) {
        const surface = end - start === token.content.length ? token.content : text.slice(start, end);
        this.pushAdded(buffer, token, [start, end], surface);
        return;
      }
      const before = buffer.length;
      let size = WINDOW;
      /** Units of the prefix that are still to be read. */
      let ahead = room;
      for (let at = start; at < end; ) {
        let stop = end;
        if (end > to) {
          const isLong = end - at > size;
          const head = isLong && room === 0 ? scanner.lastEnd?.exec(text.slice(at, at + size)) : null;
          if (head) stop = at + head[0].length;
          else if (isLong && endsAtCuts) stop = at + size;
          buffer.expect(at, text.length);
          from = at;
          to = Math.max(stop, at + WINDOW);
          units.load(text.slice(from, to), change);
          words.begin(units, buffer, from - room);
        }
        const first = at - from + room - ahead;
        if (ahead > 0) units.units[first] = prefix.charCodeAt(0);
        const read = this.addWords(scanner, first, stop - from + room, endsAtCuts && stop < end);
        if (read > first) [at, ahead] = [from + read - room, 0];
        else size *= 2; // There was no place to cut.
      }
      if (buffer.keepsRanges) normalizer?.coverPrefix?.(buffer, before, { text, start });
    });
    units.clear();
    return true;
  }

  /**
   * Adds the words of units [start, end) and returns where they end.
   *
   * @param isOpen  the last one may go on behind `end`: its last part is left
   */
  private addWords(scanner: Scanner, start: number, end: number, isOpen = false): number {
    const { units, words } = this;
    scanner.start(units);
    for (let at = start; at < end; ) {
      const next = scanner.next(units.units, at, end);
      at = words.append(at, next, isOpen && next === end);
      if (at < next) return at;
    }
    return end;
  }

  private pushAdded(
    buffer: TokenBuffer,
    { id }: AddedToken,
    range: readonly [number, number],
    surface: string,
  ): void {
    if (surface !== this.parts.names.tokenOf(id)) buffer.pushSurface(id, range, surface);
    else buffer.push(id, range[0], range[1]);
  }

  /** Adds the words of a piece: those of a scanner are found one by one, and no list of them is built. */
  private addPieces(piece: AlignedText, buffer: TokenBuffer): void {
    const { units, words } = this;
    const { scanner, prepare, split } = this.parts.preTokenizer;
    const pieces: AlignedText[] = [];
    if (scanner !== null) pieces.push(prepare?.(piece) ?? piece);
    else split?.(piece, pieces);
    for (const text of pieces) {
      const before = buffer.length;
      units.load(text.text);
      words.begin(units, buffer, text.starts === null ? text.base : 0);
      if (scanner === null) words.append(0, units.length);
      else this.addWords(scanner, 0, units.length);
      moveToOriginal(buffer, before, text);
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
