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
   * later: all are decoded at once, which is ten times faster than one by one. Lengths below 128 are UTF-8 themselves, so they
   * do not disturb.
   */
  strings(length: number): LazyStrings {
    const start = this.#at;
    const lengths = this.#lengths(length);
    const bytes = this.prefix.subarray(start, this.#at);
    if (lengths.some((size) => size >= 128) || !this.#isUtf8(bytes)) {
      this.#at = start;
      const all = lengths.map(() => this.string());
      return { all: () => all, item: (index) => all[index] };
    }
    // The rest of the prefix need not stay in memory.
    const own = bytes.slice();
    let starts: Uint32Array | undefined;
    const item = (index: number) => {
      const size = lengths[index];
      if (size === undefined) return undefined;
      starts ??= startsOf(lengths);
      const at = starts[index] ?? 0;
      return this.#text.decode(own.subarray(at, at + size));
    };
    return { all: () => this.#split(own, lengths), item };
  }

  #isUtf8(bytes: Uint8Array): boolean {
    try {
      this.#text.decode(bytes);
      return true;
    } catch {
      return false;
    }
  }

  /** Moves past strings; their lengths in bytes. */
  #lengths(count: number): readonly number[] {
    const lengths: number[] = [];
    const lastStart = Math.min(this.prefix.byteLength, this.fileBytes, maxGgufHeaderBytes) - 8;
    for (let i = 0; i < count; i++) {
      const at = this.#at;
      const isShort = at <= lastStart && this.#view.getUint32(at + 4, true) === 0;
      const bytes = isShort ? this.#view.getUint32(at, true) : lastStart;
      // The long way says what is wrong, or that the prefix is too short.
      if (at + bytes <= lastStart) this.#at = at + 8 + bytes;
      else this.#take(this.count("a string", 1));
      lengths.push(this.#at - at - 8);
    }
    return lengths;
  }

  /** Moves past numbers and gives a function that reads them. */
  numbers(type: GgufNumberType, length: number): () => readonly number[] {
    const bytes = length * leastBytes(type);
    const start = this.#take(bytes);
    const own = this.prefix.slice(start, start + bytes);
    return () => Array.from(new numberArrays[type](own.buffer));
  }

  #split(bytes: Uint8Array, lengths: readonly number[]): readonly string[] {
    const all = this.#text.decode(bytes);
    let [byte, unit] = [0, 0];
    return lengths.map((size) => {
      const units = unitsOf(bytes, byte + 8, byte + 8 + size);
      byte += 8 + size;
      unit += 8 + units;
      return all.slice(unit - units, unit);
    });
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

/** The byte at which each string begins, behind its length of eight bytes. */
function startsOf(lengths: readonly number[]): Uint32Array {
  let next = 0;
  return Uint32Array.from(lengths, (size) => {
    next += 8 + size;
    return next - size;
  });
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
