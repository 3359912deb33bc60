const [QUOTE, BACKSLASH, LETTER_U] = [0x22, 0x5c, 0x75];
const [OPEN_OBJECT, CLOSE_OBJECT, OPEN_ARRAY, CLOSE_ARRAY] = [0x7b, 0x7d, 0x5b, 0x5d];
const [SPACE, TAB, LINE_FEED, RETURN] = [0x20, 0x09, 0x0a, 0x0d];

/** What stands for a character behind a backslash. */
const ESCAPES = new Map(
  [...'"\\/bfnrt'].map((char, i) => [char.charCodeAt(0), '"\\/\b\f\n\r\t'.charCodeAt(i)]),
);

/** Reads JSON text bit by bit and makes no objects; a method that finds something else says so and is lost then. */
export class JsonCursor {
  at = 0;
  /** Units of the strings that were read since `length` was set to 0. */
  units = new Uint16Array(256);
  length = 0;

  constructor(readonly text: string) {}

  /** Skips white space and returns the next unit; NaN at the end. */
  peek(): number {
    const { text } = this;
    let { at } = this;
    let unit = text.charCodeAt(at);
    while (unit === SPACE || unit === LINE_FEED || unit === RETURN || unit === TAB)
      unit = text.charCodeAt(++at);
    this.at = at;
    return unit;
  }

  /** Takes a unit if it is the next one. */
  take(unit: number): boolean {
    if (this.peek() !== unit) return false;
    this.at++;
    return true;
  }

  /** Reads a string behind those that were read before; false if there is none. */
  string(): boolean {
    if (!this.take(QUOTE)) return false;
    const { text } = this;
    for (let { at } = this; ; at++) {
      let unit = text.charCodeAt(at);
      if (unit === QUOTE) {
        this.at = at + 1;
        return true;
      }
      // Ends at control characters, and at the end of the text, whose unit is NaN.
      if (!(unit >= SPACE)) return false;
      if (unit === BACKSLASH) {
        const letter = text.charCodeAt(++at);
        unit = letter === LETTER_U ? hexUnit(text, at + 1) : (ESCAPES.get(letter) ?? -1);
        if (unit < 0) return false;
        if (letter === LETTER_U) at += 4;
      }
      if (this.length === this.units.length) {
        const grown = new Uint16Array(this.length * 2);
        grown.set(this.units);
        this.units = grown;
      }
      this.units[this.length++] = unit;
    }
  }

  /** Reads a whole number from 0 to 2^31 - 1; -1 if there is none. */
  wholeNumber(): number {
    const first = this.peek();
    const start = this.at;
    let value = 0;
    for (let unit = first; unit >= 0x30 && unit <= 0x39; unit = this.text.charCodeAt(++this.at)) {
      value = value * 10 + unit - 0x30;
      if (value > 0x7fffffff) return -1;
    }
    const isGood = this.at > start && (first !== 0x30 || this.at === start + 1);
    return isGood && !/[.eE]/.test(this.text.charAt(this.at)) ? value : -1;
  }

  /** Skips a value of any kind without a close look; false if it does not end. */
  skip(): boolean {
    const { text } = this;
    let depth = 0;
    for (let unit = this.peek(); !Number.isNaN(unit); unit = text.charCodeAt(++this.at)) {
      if (unit === QUOTE) {
        if (!this.skipString()) return false;
        if (depth === 0) return true;
        this.at--;
      } else if (unit === OPEN_OBJECT || unit === OPEN_ARRAY) {
        depth++;
      } else if (unit === CLOSE_OBJECT || unit === CLOSE_ARRAY) {
        if (depth === 0) return true;
        if (--depth === 0) {
          this.at++;
          return true;
        }
      } else if (unit === 0x2c && depth === 0) {
        return true;
      }
    }
    return false;
  }

  private skipString(): boolean {
    const { text } = this;
    let end = this.at;
    do {
      end = text.indexOf('"', end + 1);
      if (end < 0) return false;
    } while (isEscaped(text, end));
    this.at = end + 1;
    return true;
  }
}

function isEscaped(text: string, at: number): boolean {
  let start = at;
  while (text.charCodeAt(start - 1) === BACKSLASH) start--;
  return (at - start) % 2 === 1;
}

/** Reads four hexadecimal digits; -1 if they are not. */
function hexUnit(text: string, at: number): number {
  const digits = text.slice(at, at + 4);
  return /^[0-9a-fA-F]{4}$/.test(digits) ? Number.parseInt(digits, 16) : -1;
}
