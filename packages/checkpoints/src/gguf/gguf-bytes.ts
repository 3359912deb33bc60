import { HeddleError } from "@heddle/tensor";
import {
  type GgufArray,
  type GgufNumberType,
  type GgufScalarType,
  type GgufValue,
  leastBytes,
  maxArrayDepth,
  valueTypeId,
} from "./gguf-value.js";

const ranges = {
  u8: [0, 255],
  i8: [-128, 127],
  u16: [0, 65535],
  i16: [-32768, 32767],
  u32: [0, 4294967295],
  i32: [-2147483648, 2147483647],
} as const;

/** Writes the values of a GGUF header one after another into a growing array. */
export class ByteWriter {
  #bytes = new Uint8Array(1024);
  #view = new DataView(this.#bytes.buffer);
  #at = 0;
  /** What is being written, for errors. */
  label = "";

  bytes(): Uint8Array {
    return this.#bytes.slice(0, this.#at);
  }

  raw(bytes: Uint8Array): void {
    const start = this.#grow(bytes.byteLength);
    this.#bytes.set(bytes, start);
  }

  count(value: number): void {
    this.bigint("u64", BigInt(value));
  }

  string(value: string): void {
    if (/\p{Surrogate}/u.test(value)) throw this.#error("text must have a UTF-8 form", JSON.stringify(value));
    const bytes = new TextEncoder().encode(value);
    this.count(bytes.byteLength);
    this.raw(bytes);
  }

  field(name: string, value: GgufValue): void {
    this.label = `field "${name}"`;
    this.string(name);
    this.number("u32", valueTypeId(value.type));
    this.#value(value, 1);
  }

  number(type: GgufNumberType, value: number): void {
    this.#checkRange(type, value);
    const at = this.#grow(leastBytes(type));
    switch (type) {
      case "u8":
      case "i8":
        this.#view.setUint8(at, value);
        break;
      case "u16":
      case "i16":
        this.#view.setUint16(at, value, true);
        break;
      case "u32":
      case "i32":
        this.#view.setUint32(at, value, true);
        break;
      case "f32":
        this.#view.setFloat32(at, value, true);
        break;
      case "f64":
        this.#view.setFloat64(at, value, true);
        break;
      default:
        void (type satisfies never);
    }
  }

  bigint(type: "u64" | "i64", value: bigint): void {
    const kept = type === "u64" ? BigInt.asUintN(64, value) : BigInt.asIntN(64, value);
    if (kept !== value) throw this.#error(`the value must fit in ${type}`, String(value));
    const at = this.#grow(8); // before the view is named: growing replaces it
    this.#view.setBigUint64(at, BigInt.asUintN(64, value), true);
  }

  #value(value: GgufValue, depth: number): void {
    switch (value.type) {
      case "array":
        this.#array(value, depth);
        break;
      case "u64":
      case "i64":
        this.bigint(value.type, value.value);
        break;
      case "bool":
        this.number("u8", Number(value.value));
        break;
      case "string":
        this.string(value.value);
        break;
      default:
        this.number(value.type, value.value);
    }
  }

  #array(array: GgufArray, depth: number): void {
    if (depth > maxArrayDepth) {
      throw this.#error(`arrays must be nested at most ${maxArrayDepth} deep`, `${depth} levels`);
    }
    this.number("u32", valueTypeId(array.itemType satisfies GgufScalarType | "array"));
    this.count(array.value.length);
    switch (array.itemType) {
      case "array":
        for (const item of array.value) this.#array(item, depth + 1);
        break;
      case "u64":
      case "i64":
        for (const item of array.value) this.bigint(array.itemType, item);
        break;
      case "bool":
        for (const item of array.value) this.number("u8", Number(item));
        break;
      case "string":
        for (const item of array.value) this.string(item);
        break;
      default:
        for (const item of array.value) this.number(array.itemType, item);
    }
  }

  #checkRange(type: GgufNumberType, value: number): void {
    if (type === "f32" || type === "f64") return;
    const [low, high] = ranges[type];
    if (Number.isInteger(value) && value >= low && value <= high) return;
    throw this.#error(`the value must be a whole number from ${low} to ${high} as ${type}`, String(value));
  }

  #grow(bytes: number): number {
    const start = this.#at;
    this.#at += bytes;
    if (this.#at > this.#bytes.byteLength) {
      const wider = new Uint8Array(Math.max(this.#at, this.#bytes.byteLength * 2));
      wider.set(this.#bytes.subarray(0, start));
      this.#bytes = wider;
      this.#view = new DataView(wider.buffer);
    }
    return start;
  }

  #error(rule: string, got: string): HeddleError {
    const shown = got.length <= 80 ? got : `${got.slice(0, 77)}...`;
    const message = `writeGguf: ${rule}; got ${this.label}, ${shown}. Choose a wider type or mend the value.`;
    return new HeddleError("config", message, { place: this.label });
  }
}
