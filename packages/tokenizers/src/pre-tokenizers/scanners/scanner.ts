import { pairLength } from "../../utf8-units.js";
import { CharacterClasses, LETTER, NEWLINE, NUMBER, SPACE, SURROGATE } from "./character-classes.js";

/**
 * Does by hand what a split pattern does by backtracking: the words of a text are the matches of the pattern and the
 * stretches between them. Twin of each scanner: the translated RegExp (known-patterns.ts names it).
 */
export interface Scanner {
  /** False if it looks at what stands from `limit` on, so that `limit` must be the end of the text. */
  readonly isBounded?: boolean;
  /** True if single units end its words, so that it may begin anywhere in a word. */
  readonly isLocal?: boolean;
  /** If a word always ends between a letter or number and white space: matches a text up to the last such place. */
  readonly lastEnd?: RegExp | undefined;
  /** Called before the first word of each text. */
  start(text: { slice(start: number): string }): void;
  /** Returns the end of the word that begins at `at`, which is below `limit`. */
  next(units: Uint16Array, at: number, limit: number): number;
}

/** Letters and digits of ASCII and Han, spaces and line feeds: other classes take milliseconds to compile. */
export const LAST_WORD_END = /^.*[A-Za-z\d\u4e00-\u9fa5](?=[ \n])/s;

/** Characters that are neither letter, number nor white space: [^\s\p{L}\p{N}]. */
const NOT_OTHER = LETTER | NUMBER | SPACE;

/** Walks over runs of characters of one kind in the units of a text. */
export class Runs {
  readonly classes = new CharacterClasses();
  units: Uint16Array = new Uint16Array(0);
  limit = 0;

  /** Sets the text to walk on and where it ends. */
  on(units: Uint16Array, limit: number): void {
    this.units = units;
    this.limit = limit;
  }

  /** Classes of the character at `at`; 0 at the end. */
  classesAt(at: number): number {
    if (at >= this.limit) return 0;
    const known = this.classes.ofUnit[this.units[at] as number] as number;
    return known !== 0 && (known & SURROGATE) === 0 ? known : this.classes.at(this.units, at, this.limit);
  }

  /** Where the character that begins at `at` ends. */
  after(at: number): number {
    return at + pairLength(this.units, at, this.limit);
  }

  /** End of the run of characters, from `at` on, that have one of the classes `bits`. */
  end(at: number, bits: number): number {
    const { units, limit } = this;
    const { ofUnit } = this.classes;
    let end = at;
    for (; end < limit; end++) {
      const known = ofUnit[units[end] as number] as number;
      if ((known & bits) !== 0) continue;
      if (known !== 0 && (known & SURROGATE) === 0) return end;
      if ((this.classesAt(end) & bits) === 0) return end;
      if (pairLength(units, end, limit) === 2) end++;
    }
    return end;
  }

  /** End of the run, from `at` on, of characters that are neither letter, number nor white space. */
  endOfOther(at: number): number {
    let end = at;
    while (end < this.limit && (this.classesAt(end) & NOT_OTHER) === 0) end = this.after(end);
    return end;
  }

  isOther(at: number): boolean {
    return at < this.limit && (this.classesAt(at) & NOT_OTHER) === 0;
  }

  /** End of at most `most` characters of a class: \p{N}{1,3}. */
  endOfFew(at: number, bits: number, most: number): number {
    let end = at;
    for (let count = 0; count < most && (this.classesAt(end) & bits) !== 0; count++) end = this.after(end);
    return end;
  }

  /**
   * End of a word of white space: \s*[\r\n]+|\s+(?!\S)|\s+. A run goes up to its last line break, if it has one; else
   * the last character of a run is left for the word behind it.
   */
  endOfSpaces(at: number): number {
    const { units } = this;
    const end = this.end(at, SPACE);
    for (let last = end - 1; last >= at; last--) {
      if (((this.classes.ofUnit[units[last] as number] as number) & NEWLINE) !== 0) return last + 1;
    }
    return this.endOfSpacesOnly(at, end);
  }

  /** The same without line breaks: \s+(?!\S)|\s+, where the run ends at `end`. */
  endOfSpacesOnly(at: number, end: number): number {
    return end === this.limit || end - at === 1 ? end : end - 1;
  }

  /** End of an English contraction at `at` ('s 't 're 've 'm 'll 'd), or `at`. */
  endOfContraction(at: number, ignoresCase: boolean): number {
    const { units, limit } = this;
    if (units[at] !== APOSTROPHE || at + 1 >= limit) return at;
    const fold = ignoresCase ? 0x20 : 0;
    const first = units[at + 1] as number;
    // The long s folds to s.
    if (ignoresCase && first === 0x17f) return at + 2;
    const letter = first | fold;
    if (letter === S || letter === T || letter === M || letter === D) return at + 2;
    if (at + 2 >= limit) return at;
    const other = (units[at + 2] as number) | fold;
    const isLong = (letter === L && other === L) || ((letter === V || letter === R) && other === E);
    return isLong ? at + 3 : at;
  }
}

export const APOSTROPHE = 0x27;
export const SPACE_UNIT = 0x20;
const S = 0x73;
const T = 0x74;
const M = 0x6d;
const D = 0x64;
const L = 0x6c;
const V = 0x76;
const R = 0x72;
const E = 0x65;
