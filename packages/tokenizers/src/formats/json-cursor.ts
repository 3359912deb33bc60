const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
/** The bit that [ and ] lack beside { and }. */
const ARRAY = 0x20;
const SPACE = 0x20;
const TAB = 0x09;
const LINE_FEED = 0x0a;
const RETURN = 0x0d;

const decoder = new TextDecoder("utf-8", { fatal: true });

/** Reads the UTF-8 of JSON bit by bit and makes no objects; a method that finds something else says so and is lost then. */
export class JsonCursor {
  at = 0;
  /** The last string that was read. */
  text = "";

  constructor(readonly bytes: Uint8Array) {}

  /** Skips white space and returns the next byte; -1 at the end. */
  peek(): number {
    const { bytes } = this;
    for (; this.at < bytes.length; this.at++) {
      const byte = bytes[this.at] as number;
      if (byte !== SPACE && byte !== LINE_FEED && byte !== RETURN && byte !== TAB) return byte;
    }
    return -1;
  }

  /** Takes a byte if it is the next one. */
  take(byte: number): boolean {
    if (this.peek() !== byte) return false;
    this.at++;
    return true;
  }

  /** Reads a string into `text`; false if there is none that is well formed. */
  string(): boolean {
    if (this.peek() !== QUOTE) return false;
    const start = this.at;
    try {
      if (!this.skipString()) return false;
      this.text = JSON.parse(decoder.decode(this.bytes.subarray(start, this.at)));
      return true;
    } catch {
      return false;
    }
  }

  /** Reads a whole number from 0 to 2^31 - 1; -1 if there is none. */
  wholeNumber(): number {
    const first = this.peek();
    const { bytes, at: start } = this;
    let value = 0;
    let { at } = this;
    for (; at < bytes.length; at++) {
      const digit = (bytes[at] as number) - 0x30;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
      if (value > 0x7fffffff) return -1;
    }
    this.at = at;
    const behind = bytes[at];
    const isFraction = behind === 0x2e || behind === 0x65 || behind === 0x45;
    return at === start || isFraction || (first === 0x30 && at > start + 1) ? -1 : value;
  }

  /** Skips a value of any kind without a close look; false if it does not end. */
  skip(): boolean {
    const { bytes } = this;
    let depth = 0;
    for (this.peek(); this.at < bytes.length; this.at++) {
      const byte = bytes[this.at] as number;
      if (byte === QUOTE) {
        if (!this.skipString()) return false;
        if (depth === 0) return true;
        this.at--;
      } else if ((byte | ARRAY) === OPEN_OBJECT) {
        depth++;
      } else if ((byte | ARRAY) === CLOSE_OBJECT || (byte === COMMA && depth === 0)) {
        if (depth === 0) return true;
        if (--depth === 0) {
          this.at++;
          return true;
        }
      }
    }
    return false;
  }

  private skipString(): boolean {
    const { bytes } = this;
    let end = this.at;
    do {
      end = bytes.indexOf(QUOTE, end + 1);
      if (end < 0) return false;
    } while (isEscaped(bytes, end));
    this.at = end + 1;
    return true;
  }
}

function isEscaped(bytes: Uint8Array, at: number): boolean {
  let start = at;
  while (bytes[start - 1] === BACKSLASH) start--;
  return (at - start) % 2 === 1;
}
