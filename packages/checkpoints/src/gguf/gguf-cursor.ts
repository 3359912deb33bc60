import { ggufError } from "./gguf-error.js";
import { type GgufNumberType, maxGgufHeaderBytes } from "./gguf-value.js";

/** Raised where the header goes on after the bytes at hand; the reader fetches more and begins anew. */
export class PrefixTooShort extends Error {
  override readonly name = "PrefixTooShort";
}

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
   * Reads strings that follow each other, as a vocabulary has them by the hundred thousand: all are decoded at once, which is
   * ten times faster than one by one. Lengths below 128 are UTF-8 themselves, so they do not disturb.
   */
  strings(length: number): string[] {
    const start = this.#at;
    const lengths: number[] = [];
    for (let i = 0; i < length; i++) {
      lengths.push(this.count("a string", 1));
      this.#take(lengths[i] ?? 0);
    }
    const all = lengths.every((bytes) => bytes < 128) ? this.#decoded(start, this.#at) : undefined;
    if (all === undefined) {
      this.#at = start;
      return lengths.map(() => this.string());
    }
    let [byte, unit] = [start, 0];
    return lengths.map((bytes) => {
      const units = unitsOf(this.prefix, byte + 8, byte + 8 + bytes);
      byte += 8 + bytes;
      unit += 8 + units;
      return all.slice(unit - units, unit);
    });
  }

  #decoded(start: number, end: number): string | undefined {
    try {
      return this.#text.decode(this.prefix.subarray(start, end));
    } catch {
      return undefined;
    }
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

/** UTF-16 units of well-formed UTF-8. */
function unitsOf(bytes: Uint8Array, start: number, end: number): number {
  let units = 0;
  for (let at = start; at < end; at++) {
    const byte = bytes[at] ?? 0;
    if ((byte & 0xc0) !== 0x80) units += byte >= 0xf0 ? 2 : 1;
  }
  return units;
}
