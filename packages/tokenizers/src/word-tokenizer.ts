import type { ByteWords } from "./byte-words.js";
import type { CompiledModel } from "./models/compiled.js";
import { TextUnits } from "./text-units.js";
import { TokenBuffer } from "./token-buffer.js";
import { hashUnits } from "./unit-hash.js";
import { MAX_CACHED_UNITS, type Word, WordCache } from "./word-cache.js";
import type { WordCuts } from "./word-cuts.js";

/** So many units of words that would be cut come before the table of cuts is worth making. */
const MIN_CUT_UNITS = 2048;

/** True for units of scripts that are written without spaces, more or less: Thai to Khmer, and Han, kana, Hangul. */
const isSpaceless = (unit: number): boolean => unit >= 0x0e00 && (unit < 0x1800 || unit >= 0x2e80);

/**
 * Tokenizes the words of a text through a bounded cache. Words that are long, or of a script without spaces, are first
 * cut where no token can reach across. The units of a word that came before are hashed and compared, and nothing else.
 */
export class WordTokenizer {
  private readonly cache: WordCache | null;
  private text = new TextUnits();
  private readonly word: Word = { units: this.text.units, start: 0, end: 0, hash: 0 };
  /**
   * By unit, for those that are a word: where the number of its tokens and these, at most three, lie behind, or its only
   * token, bits inverted, once it was found there; 0: unknown.
   */
  private readonly ofUnit = new Int32Array(5 * 0x10000);
  private endOfUnits = 0x10000;
  private readonly scratch = new TokenBuffer();
  private readonly createCuts: (() => WordCuts) | null;
  /** Made when the first word comes that is cut; undefined: not yet. */
  private cuts: WordCuts | undefined;
  private numCutUnits = 0;
  /** Words of so many units are not cut, but those of scripts without spaces. */
  private readonly longestWhole: number;
  private out = this.scratch;
  private base = 0;

  /**
   * @param options.bytes  words are written in the byte alphabet first, and ranges mapped back; null: they are not
   * @param options.isRandom  the same word may give other tokens at each call
   * @param options.isWhole  every text is one word: the table of cuts is made at once, and short texts are cut too
   */
  constructor(
    private readonly model: CompiledModel,
    private readonly options: {
      readonly bytes: ByteWords | null;
      readonly isRandom: boolean;
      readonly isWhole: boolean;
    },
  ) {
    this.cache = options.isRandom ? null : new WordCache();
    const { createCuts, createByteCuts } = model;
    this.createCuts = options.isRandom ? null : options.bytes === null ? createCuts : createByteCuts;
    this.cuts = options.isWhole ? this.createCuts?.() : undefined;
    this.longestWhole = options.isWhole ? 1 : MAX_CACHED_UNITS;
  }

  /** True once words can be cut. */
  get hasCuts(): boolean {
    return this.cuts !== undefined;
  }

  /** Sets where the words of the next calls are and where their tokens go; ranges are units of the text plus `base`. */
  begin(text: TextUnits, out: TokenBuffer, base: number): void {
    this.text = text;
    this.out = out;
    this.base = base;
    this.word.units = text.units;
  }

  /**
   * Appends the tokens of the word of units [start, end) and returns where they end.
   *
   * @param isOpen  the word may go on behind `end`: its last part is left
   */
  append(start: number, end: number, isOpen = false): number {
    if (this.createCuts === null || !this.isCut(start, end)) {
      if (isOpen) return start;
      this.appendPart(start, end);
      return end;
    }
    this.cuts ??= this.createCuts();
    const { cuts, word, out, base } = this;
    for (let at = start; at < end; ) {
      let next = cuts.next(word.units, at, end);
      if (next === at && cuts.append) {
        word.start = at;
        word.end = end;
        next = cuts.append(word, out, base);
      } else if (isOpen && next === end) return at;
      else this.appendPart(at, next);
      at = next;
    }
    return end;
  }

  /** True for long words and for those of a script without spaces, once there were some. */
  private isCut(start: number, end: number): boolean {
    const { units } = this.text;
    const second = start + 1 < end ? start + 1 : start;
    const isShort = end - start <= this.longestWhole;
    if (isShort && !isSpaceless(units[start] as number) && !isSpaceless(units[second] as number))
      return false;
    if (this.cuts !== undefined) return true;
    // Between two bytes of ASCII nothing is cut.
    const least = this.options.bytes === null ? 0 : 0x80;
    for (let at = start; at < end; at++) if ((units[at] as number) >= least) this.numCutUnits++;
    return this.numCutUnits > MIN_CUT_UNITS;
  }

  private appendPart(start: number, end: number): void {
    const { word, cache, ofUnit, scratch, out } = this;
    const first = this.base + start;
    const behind = this.base + end;
    const isCached = cache !== null && end - start <= MAX_CACHED_UNITS;
    const unit = isCached && end - start === 1 ? (word.units[start] as number) : -1;
    const place = unit < 0 ? 0 : (ofUnit[unit] as number);
    if (place < 0) {
      out.push(~place, first, behind);
      return;
    }
    if (place > 0) {
      const count = ofUnit[place] as number;
      for (let i = 1; i <= count; i++) out.push(ofUnit[place + i] as number, first, behind);
      // Not earlier: so compiled code knows this way whichever units came before.
      if (count === 1) ofUnit[unit] = ~(ofUnit[place + 1] as number);
      return;
    }
    word.start = start;
    word.end = end;
    if (isCached) {
      word.hash = hashUnits(word.units, start, end);
      if (cache.append(word, out, first)) return;
    }
    this.compute(start, end);
    if (isCached && scratch.surfaces.size === 0) {
      if (unit < 0 || !this.keepUnit(unit)) cache.set(word, scratch);
    }
    this.appendScratch(start);
  }

  /** Remembers the tokens of one unit if they are few and each stands for all of it. */
  private keepUnit(unit: number): boolean {
    const { ofUnit, endOfUnits: place } = this;
    const { ids, starts, ends, length } = this.scratch;
    for (let i = 0; i < length; i++) {
      if (i > 2 || starts[i] !== 0 || ends[i] !== 1) return false;
      ofUnit[place + 1 + i] = ids[i] as number;
    }
    ofUnit[unit] = place;
    ofUnit[place] = length;
    this.endOfUnits += 4;
    return true;
  }

  /** Fills the scratch buffer with the tokens of a word, ranges in units of the word. */
  private compute(start: number, end: number): void {
    const { model, scratch, text } = this;
    const { bytes } = this.options;
    scratch.clear();
    if (bytes !== null) bytes.tokenize(model, this.word, scratch);
    else if (model.tokenizeUnits) model.tokenizeUnits(text.units, start, end, scratch);
    else model.tokenize(text.slice(start, end), scratch);
  }

  private appendScratch(start: number): void {
    const { scratch, out } = this;
    if (out.keepsRanges && scratch.surfaces.size > 0) {
      for (const [index, surface] of scratch.surfaces) out.surfaces.set(out.length + index, surface);
    }
    const { ids, starts, ends, length } = scratch;
    const base = this.base + start;
    for (let i = 0; i < length; i++) {
      out.push(ids[i] as number, base + (starts[i] as number), base + (ends[i] as number));
    }
  }
}
