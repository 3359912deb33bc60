import {
  bf16ToNumber,
  byteWidth,
  type DType,
  f16ToNumber,
  isHalf,
  numberToBf16,
  numberToF16,
} from "../dtype.js";
import type { Shape, TensorType } from "../shape.js";
import { sizeOf } from "../shape.js";

export type HostData = Float64Array | Float32Array | Int32Array | Uint32Array | Int8Array | Uint8Array;

/** Values of a tensor in JavaScript's memory, as plain numbers: half floats are decoded to Float32Array, bool is 0 or 1. */
export interface HostArray {
  readonly shape: Shape;
  readonly dtype: DType;
  readonly data: HostData;
}

/** A zero-filled array of the given type. */
export function hostArray(type: TensorType): HostArray {
  return { shape: type.shape, dtype: type.dtype, data: newData(type.dtype, sizeOf(type.shape)) };
}

function newData(dtype: DType, length: number): HostData {
  switch (dtype) {
    case "f64":
      return new Float64Array(length);
    case "f32":
    case "f16":
    case "bf16":
      return new Float32Array(length);
    case "i32":
      return new Int32Array(length);
    case "u32":
      return new Uint32Array(length);
    case "i8":
      return new Int8Array(length);
    case "u8":
    case "bool":
      return new Uint8Array(length);
    default:
      return dtype satisfies never;
  }
}

/** Bytes that a tensor of this type takes. */
export function byteLengthOf(type: TensorType): number {
  return sizeOf(type.shape) * byteWidth(type.dtype);
}

/** Decodes little-endian bytes of `type.dtype` into numbers. Copies; the bytes may be unaligned. */
export function decode(bytes: Uint8Array, type: TensorType): HostArray {
  const array = hostArray(type);
  if (isHalf(type.dtype)) {
    const toNumber = type.dtype === "f16" ? f16ToNumber : bf16ToNumber;
    for (let i = 0; i < array.data.length; i++) {
      array.data[i] = toNumber((bytes[2 * i] ?? 0) | ((bytes[2 * i + 1] ?? 0) << 8));
    }
  } else {
    new Uint8Array(array.data.buffer).set(bytes.subarray(0, array.data.byteLength));
  }
  return array;
}

/** Encodes numbers as little-endian bytes of the array's dtype (a view where no conversion is needed). */
export function encode(array: HostArray): Uint8Array {
  if (array.dtype !== "f16" && array.dtype !== "bf16") {
    return new Uint8Array(array.data.buffer, array.data.byteOffset, array.data.byteLength);
  }
  const toBits = array.dtype === "f16" ? numberToF16 : numberToBf16;
  return new Uint8Array(Uint16Array.from(array.data, (value) => toBits(value)).buffer);
}
