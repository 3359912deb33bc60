import { HeddleError } from "../error.js";
import { encoder } from "../text-coders.js";

/** One field of a protocol-buffers message. */
export type WireField =
  | { readonly number: number; readonly type: "varint"; readonly value: number }
  | { readonly number: number; readonly type: "fixed32" | "fixed64" | "bytes"; readonly bytes: Uint8Array };

/**
 * Reads the fields of a protocol-buffers message in their order.
 *
 * Varints are read up to 53 bits; negative ones (ten bytes) come out as 32-bit signed numbers.
 *
 * @param path  name of the message, for errors
 * @throws HeddleError "format" naming the message and the byte where it breaks
 */
export function* readMessage(bytes: Uint8Array, path: string): Generator<WireField> {
  const reader = new WireReader(bytes, path);
  while (!reader.atEnd()) {
    const key = reader.varint();
    const number = Math.floor(key / 8);
    switch (key % 8) {
      case 0:
        yield { number, type: "varint", value: reader.varint() };
        break;
      case 1:
        yield { number, type: "fixed64", bytes: reader.take(8) };
        break;
      case 2:
        yield { number, type: "bytes", bytes: reader.take(reader.varint()) };
        break;
      case 5:
        yield { number, type: "fixed32", bytes: reader.take(4) };
        break;
      default:
        throw reader.fail(`wire type ${key % 8}`);
    }
  }
}

class WireReader {
  private at = 0;

  constructor(
    private readonly bytes: Uint8Array,
    private readonly path: string,
  ) {}

  atEnd(): boolean {
    return this.at >= this.bytes.length;
  }

  fail(problem: string): HeddleError {
    return new HeddleError(
      "format",
      `readMessage: ${this.path} must be a protocol-buffers message; got ${problem} at byte ${this.at} of ${this.bytes.length}. Check that the file is a whole SentencePiece model.`,
      { path: this.path, byte: this.at, length: this.bytes.length },
    );
  }

  varint(): number {
    let low = 0;
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.bytes[this.at];
      if (byte === undefined) throw this.fail("an early end");
      this.at++;
      if (shift < 32) low |= (byte & 0x7f) << shift;
      if (shift < 49) value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return shift >= 63 ? low : value;
    }
    throw this.fail("a number of more than ten bytes");
  }

  take(length: number): Uint8Array {
    if (length < 0 || this.at + length > this.bytes.length) throw this.fail(`a field of ${length} bytes`);
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }
}

/** Writes the fields of a protocol-buffers message one after the other. */
export class MessageWriter {
  private readonly parts: number[] = [];

  /** A whole number; negative ones take ten bytes, as 64-bit two's complement. */
  varint(number: number, value: number): this {
    this.raw(number * 8);
    return this.raw(value);
  }

  flag(number: number, value: boolean): this {
    return this.varint(number, value ? 1 : 0);
  }

  float(number: number, value: number): this {
    this.raw(number * 8 + 5);
    this.append(new Uint8Array(Float32Array.of(value).buffer));
    return this;
  }

  bytes(number: number, value: Uint8Array): this {
    this.raw(number * 8 + 2).raw(value.length);
    this.append(value);
    return this;
  }

  text(number: number, value: string): this {
    return this.bytes(number, encoder.encode(value));
  }

  finish(): Uint8Array {
    return Uint8Array.from(this.parts);
  }

  private append(bytes: Uint8Array): void {
    for (const byte of bytes) this.parts.push(byte);
  }

  private raw(value: number): this {
    let rest = BigInt.asUintN(64, BigInt(value));
    while (rest >= 128n) {
      this.parts.push(Number(rest & 127n) | 128);
      rest >>= 7n;
    }
    this.parts.push(Number(rest));
    return this;
  }
}
