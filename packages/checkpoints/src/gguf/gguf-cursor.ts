import { ggufError } from "./gguf-error.js";
import { type GgufNumberType, leastBytes, maxGgufHeaderBytes } from "./gguf-value.js";

/** Raised where the header goes on after the bytes at hand; the reader fetches more and begins anew. */
export class PrefixTooShort extends Error {
  override readonly name = "PrefixTooShort";
}

/** Strings that are still bytes. */
export interface LazyStrings {
  readonly all: () => readonly string[];
  readonly item: (index: number) => string | undefined;
}

/** Arrays of the types; like the file, all machines that run this are little-endian. */
const numberArrays = {
  u8: Uint8Array,
  i8: Int8Array,
  u16: Uint16Array,
  i16: Int16Array,
  u32: Uint32Array,
  i32: Int32Array,
  f32: Float32Array,
  f64: Float64Array,
} as const;

/** Where the cursor is, for errors. */
interface Label {
  readonly field?: string;
  readonly tensor?: string;
}

/**
 * Reads the values of a GGUF header one after another from the first bytes of a file.
 *
 * It never moves past the end of the file, so nothing is allocated for counts that the file cannot hold.
 */
export class GgufCursor {
  readonly #view: DataView;
  readonly #text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  #at = 0;
  /** What is being read: set by the parser. */
  label: Label = {};

  constructor(
    readonly prefix: Uint8Array,
    readonly file: string,
    readonly fileBytes: number,
  ) {
    this.#view = new DataView(prefix.buffer, prefix.byteOffset, prefix.byteLength);
  }

  get at(): number {
    return this.#at;
  }

  number(type: GgufNumberType): number {
    switch (type) {
      case "u8":
        return this.#view.getUint8(this.#take(1));
      case "i8":
        return this.#view.getInt8(this.#take(1));
      case "u16":
        return this.#view.getUint16(this.#take(2), true);
      case "i16":
        return this.#view.getInt16(this.#take(2), true);
      case "u32":
        return this.#view.getUint32(this.#take(4), true);
      case "i32":
        return this.#view.getInt32(this.#take(4), true);
      case "f32":
        return this.#view.getFloat32(this.#take(4), true);
      case "f64":
        return this.#view.getFloat64(this.#take(8), true);
      default:
        return type satisfies never;
    }
  }

  bigint(type: "u64" | "i64"): bigint {
    const at = this.#take(8);
    return type === "u64" ? this.#view.getBigUint64(at, true) : this.#view.getBigInt64(at, true);
  }

  bool(): boolean {
    const at = this.#at;
    const value = this.number("u8");
    if (value > 1) throw this.error({ rule: "a bool must be 0 or 1", got: `value ${value}` }, at);
    return value === 1;
  }

  string(): string {
    const length = this.count("a string", 1);
    const start = this.#take(length);
    try {
      return this.#text.decode(this.prefix.subarray(start, start + length));
    } catch (cause) {
      throw ggufError(this.#place(start), { rule: "a string must be UTF-8" }, cause);
    }
  }

  /**
   * Checks strings that follow each other, as a vocabulary has them by the hundred thousand, to be made
   * later: many are decoded at once, which is ten times faster than one by one. Lengths below 128 are UTF-8 themselves, so they
   * do not disturb.
   */
  strings(count: number): LazyStrings {
    const start = this.#at;
    const { ends, isEachShort } = this.#skipStrings(count);
    if (!isEachShort || !this.#areUtf8(start, ends)) {
      this.#at = start;
      const all = Array.from(ends, () => this.string());
      return { all: () => all, item: (index) => all[index] };
    }
    // The first bytes of the file stay in memory with it: a vocabulary is most of them.
    const bytes = this.prefix;
    const item = (index: number) => {
      const end = ends[index];
      if (end === undefined) return undefined;
      return this.#text.decode(bytes.subarray((index === 0 ? start : (ends[index - 1] ?? 0)) + 8, end));
    };
    return { all: () => this.#split(start, ends), item };
  }

  /** Whether bytes up to the last string are UTF-8. What is decoded for that lives so shortly that it takes no fresh memory. */
  #areUtf8(start: number, ends: Uint32Array): boolean {
    try {
      for (const [from, to] of groupsOf(start, ends)) this.#text.decode(this.prefix.subarray(from, to));
      return true;
    } catch {
      return false;
    }
  }

  /** Moves past strings; the byte at which each ends, and whether all are shorter than 128 bytes. */
  #skipStrings(count: number) {
    // More do not fit in a header, which is refused before they are reached.
    const ends = new Uint32Array(Math.min(count, maxGgufHeaderBytes / 8));
    const view = this.#view;
    const lastStart = Math.min(this.prefix.byteLength, this.fileBytes, maxGgufHeaderBytes) - 8;
    let isEachShort = true;
    let at = this.#at;
    for (let i = 0; i < count; i++) {
      const isNear = at <= lastStart && view.getUint32(at + 4, true) === 0;
      const bytes = isNear ? view.getUint32(at, true) : lastStart;
      if (at + bytes <= lastStart) {
        if (bytes >= 128) isEachShort = false;
        at += 8 + bytes;
      } else {
        // The long way says what is wrong, or that the prefix is too short.
        this.#at = at;
        const length = this.count("a string", 1);
        at = this.#take(length) + length;
        if (length >= 128) isEachShort = false;
      }
      ends[i] = at;
    }
    this.#at = at;
    return { ends, isEachShort };
  }

  /** Moves past numbers; they are as in the file. */
  numbers(type: GgufNumberType, length: number): ArrayLike<number> {
    const bytes = length * leastBytes(type);
    const start = this.#take(bytes);
    return new numberArrays[type](this.prefix.slice(start, start + bytes).buffer);
  }

  #split(start: number, ends: Uint32Array): readonly string[] {
    const bytes = this.prefix;
    const strings: string[] = [];
    for (const [from, to] of groupsOf(start, ends)) {
      const all = this.#text.decode(bytes.subarray(from, to));
      for (let [byte, unit] = [from, 0]; byte < to; ) {
        const end = ends[strings.length] ?? to;
        const units = unitsOf(bytes, byte + 8, end);
        strings.push(all.slice(unit + 8, unit + 8 + units));
        unit += 8 + units;
        byte = end;
      }
    }
    return strings;
  }

  /** Reads a u64 count of things that take at least `leastBytes` each, which must fit in the rest of the file. */
  count(what: string, leastBytes: number): number {
    const at = this.#at;
    const start = this.#take(8);
    const low = this.#view.getUint32(start, true);
    // Most counts are small; a vocabulary has hundreds of thousands of them.
    const isSmall = this.#view.getUint32(start + 4, true) === 0;
    if (isSmall && low * leastBytes <= this.fileBytes - this.#at) return low;
    const count = this.#view.getBigUint64(start, true);
    const room = Math.floor((this.fileBytes - this.#at) / leastBytes);
    if (count <= BigInt(room)) return Number(count);
    throw this.error(
      { rule: `${what} must fit in the rest of the file`, got: `length ${count}, room ${room}` },
      at,
    );
  }

  error(text: { readonly rule: string; readonly got?: string; readonly cure?: string }, byte = this.#at) {
    return ggufError(this.#place(byte), text);
  }

  #place(byte: number) {
    return { file: this.file, ...this.label, byte };
  }

  #take(bytes: number): number {
    const start = this.#at;
    const end = start + bytes;
    if (end > this.fileBytes) {
      const got = `file of ${this.fileBytes} bytes, wanted up to ${end}`;
      throw this.error({ rule: "a file must not end inside its header", got });
    }
    if (end > maxGgufHeaderBytes) {
      throw this.error({ rule: `metadata and tensor list must be at most ${maxGgufHeaderBytes} bytes` });
    }
    if (end > this.prefix.byteLength) throw new PrefixTooShort();
    this.#at = end;
    return start;
  }
}

/** Bytes that are decoded at once. */
const GROUP_BYTES = 2 ** 15;

/** Cuts strings that follow each other, from byte `start` on, into stretches of whole strings. */
function* groupsOf(start: number, ends: Uint32Array): Generator<readonly [from: number, to: number]> {
  let from = start;
  for (const end of ends) {
    if (end - from < GROUP_BYTES) continue;
    yield [from, end];
    from = end;
  }
  const last = ends.at(-1) ?? from;
  if (last > from) yield [from, last];
}

/** UTF-16 units of well-formed UTF-8. */
function unitsOf(bytes: Uint8Array, start: number, end: number): number {
  let units = 0;
  for (let at = start; at < end; at++) {
    const byte = bytes[at] ?? 0;
    if ((byte & 0xc0) !== 0x80) units += byte >= 0xf0 ? 2 : 1;
  }
  return units;
}
