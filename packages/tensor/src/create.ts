import type { Device, DeviceBuffer } from "./device.js";
import type { DType } from "./dtype.js";
import { HeddleError } from "./error.js";
import { randomWords, seedToKey, stream, wordToUnit } from "./philox.js";
import { byteLengthOf, encode, type HostData, hostArray } from "./reference/host-array.js";
import { checkShape, formatShape, type Shape, sizeOf, type TensorType } from "./shape.js";
import { Storage } from "./storage.js";
import { Tensor } from "./tensor.js";

export type NestedNumbers = number | boolean | readonly NestedNumbers[];

export interface TensorOptions {
  readonly shape?: Shape;
  readonly dtype?: DType;
}

/**
 * Makes a tensor of raw little-endian bytes of the type's dtype. Copies them.
 *
 * Shapes: -> type.shape.
 * @returns a tensor that the caller owns
 * @throws HeddleError "shape" if the number of bytes is not that of the type, "dtype" if the device does not hold it
 */
export function fromBytes(device: Device, type: TensorType, bytes: Uint8Array): Tensor {
  checkShape("fromBytes", type.shape);
  checkDType("fromBytes", device, type.dtype);
  if (bytes.byteLength !== byteLengthOf(type)) {
    throw new HeddleError(
      "shape",
      `fromBytes: ${type.dtype}${formatShape(type.shape)} takes ${byteLengthOf(type)} bytes; got ${bytes.byteLength}. Check shape, dtype and the range of bytes.`,
      { shape: type.shape, dtype: type.dtype, byteLength: bytes.byteLength },
    );
  }
  const storage = Storage.allocate(device, bytes.byteLength);
  device.write(storage.buffer, bytes);
  return new Tensor(device, { shape: [...type.shape], dtype: type.dtype }, { kind: "storage", storage });
}

/**
 * Makes a tensor of a buffer that its device already has; for authors of devices. No copy is made.
 *
 * Shapes: -> type.shape.
 * @returns a tensor that the caller owns; freeing it hands the buffer to `device.free`
 * @throws HeddleError "shape" if the buffer is smaller than the type
 */
export function fromDeviceBuffer(device: Device, type: TensorType, buffer: DeviceBuffer): Tensor {
  checkShape("fromDeviceBuffer", type.shape);
  checkDType("fromDeviceBuffer", device, type.dtype);
  if (buffer.byteLength < byteLengthOf(type)) {
    throw new HeddleError(
      "shape",
      `fromDeviceBuffer: the buffer must hold ${type.dtype}${formatShape(type.shape)}, ${byteLengthOf(type)} bytes; got ${buffer.byteLength}. Check shape and dtype.`,
      { shape: type.shape, dtype: type.dtype, byteLength: buffer.byteLength },
    );
  }
  const storage = Storage.adopt(device, buffer);
  return new Tensor(device, { shape: [...type.shape], dtype: type.dtype }, { kind: "storage", storage });
}

function checkDType(caller: string, device: Device, dtype: DType): void {
  if (!device.supports(dtype)) {
    throw new HeddleError(
      "dtype",
      `${caller}: the ${device.kind} device does not hold ${dtype}; got ${dtype}. Use "${device.defaultFloat}".`,
      {
        dtype,
        device: device.kind,
      },
    );
  }
}

function fromNumbers(device: Device, type: TensorType, values: ArrayLike<number> & Iterable<number>): Tensor {
  checkShape("tensor", type.shape);
  checkDType("tensor", device, type.dtype);
  const array = hostArray(type);
  array.data.set(type.dtype === "bool" ? Uint8Array.from(values, (value) => (value === 0 ? 0 : 1)) : values);
  return fromBytes(device, type, encode(array));
}

function dtypeOf(data: HostData): DType {
  if (data instanceof Float64Array) return "f64";
  if (data instanceof Float32Array) return "f32";
  if (data instanceof Int32Array) return "i32";
  if (data instanceof Uint32Array) return "u32";
  return data instanceof Int8Array ? "i8" : "u8";
}

/**
 * Makes a tensor of given values, row-major.
 *
 * Nested arrays give the shape; of a typed array the class gives the dtype (Float64Array: the device's float) and `shape`
 * defaults to one axis. Plain numbers become the device's float, booleans bool; `dtype` overrides.
 * @returns a tensor that the caller owns
 * @throws HeddleError "shape" if nested arrays are ragged or the shape does not hold the values
 */
export function tensor(device: Device, data: NestedNumbers | HostData, options: TensorOptions = {}): Tensor {
  const isTyped = ArrayBuffer.isView(data);
  const shapeSeen = isTyped ? [data.length] : nestedShape(data);
  const values = isTyped ? data : flattenNumbers(data);
  const natural = isTyped
    ? dtypeOf(data)
    : firstLeaf(data) === true || firstLeaf(data) === false
      ? "bool"
      : device.defaultFloat;
  const dtype = options.dtype ?? (natural === "f64" ? device.defaultFloat : natural);
  const shape = options.shape ?? shapeSeen;
  if (sizeOf(shape) !== values.length) {
    throw new HeddleError(
      "shape",
      `tensor: the shape must hold exactly the values given; got ${values.length} values for shape ${formatShape(shape)}. Nested arrays must not be ragged.`,
      { shape, values: values.length },
    );
  }
  return fromNumbers(device, { shape, dtype }, values);
}

function nestedShape(data: NestedNumbers): number[] {
  if (typeof data === "number" || typeof data === "boolean") return [];
  const inner = data.map(nestedShape);
  const first = inner[0] ?? [];
  if (inner.some((shape) => shape.length !== first.length || shape.some((n, i) => n !== first[i]))) {
    throw new HeddleError(
      "shape",
      `tensor: nested arrays must not be ragged; got rows of shape ${inner.map(formatShape).join(" and ")}. Pad the shorter rows.`,
      { shapes: inner },
    );
  }
  return [data.length, ...first];
}

function flattenNumbers(data: NestedNumbers): number[] {
  return typeof data === "object" ? data.flatMap(flattenNumbers) : [Number(data)];
}

function firstLeaf(data: NestedNumbers): number | boolean | undefined {
  let leaf: NestedNumbers | undefined = data;
  while (typeof leaf === "object") leaf = leaf[0];
  return leaf;
}

/**
 * Makes a tensor filled with one value.
 *
 * Shapes: -> shape.
 * @param options.dtype  default the device's float
 * @returns a tensor that the caller owns
 * @throws HeddleError "shape" if an extent is not a whole number >= 0
 */
export function full(
  device: Device,
  shape: Shape,
  value: number,
  options: { readonly dtype?: DType } = {},
): Tensor {
  checkShape("full", shape);
  const dtype = options.dtype ?? device.defaultFloat;
  return fromNumbers(device, { shape, dtype }, new Float64Array(sizeOf(shape)).fill(value));
}

/**
 * Makes a tensor of zeros.
 *
 * Shapes: -> shape.
 * @param options.dtype  default the device's float
 * @returns a tensor that the caller owns
 * @throws HeddleError "shape" if an extent is not a whole number >= 0
 */
export function zeros(device: Device, shape: Shape, options: { readonly dtype?: DType } = {}): Tensor {
  return full(device, shape, 0, options);
}

/**
 * Makes a tensor of ones.
 *
 * Shapes: -> shape.
 * @param options.dtype  default the device's float
 * @returns a tensor that the caller owns
 * @throws HeddleError "shape" if an extent is not a whole number >= 0
 */
export function ones(device: Device, shape: Shape, options: { readonly dtype?: DType } = {}): Tensor {
  return full(device, shape, 1, options);
}

/**
 * Counts: 0, 1, .. stop-1, or start, start + step, .. below stop.
 *
 * Shapes: -> [n], n = ceil((stop - start) / step).
 * @param range.start  default 0
 * @param range.step   default 1
 * @param options.dtype  default i32
 * @returns a tensor that the caller owns
 * @throws HeddleError "config" if the step is 0
 */
export function arange(
  device: Device,
  range: number | { readonly start?: number; readonly stop: number; readonly step?: number },
  options: { readonly dtype?: DType } = {},
): Tensor {
  const { start = 0, stop, step = 1 } = typeof range === "number" ? { stop: range } : range;
  if (step === 0)
    throw new HeddleError("config", `arange: step must not be 0; got step ${step}. Use 1 or -1.`, { step });
  const length = Math.max(0, Math.ceil((stop - start) / step));
  const values = Float64Array.from({ length }, (_, i) => start + i * step);
  return fromNumbers(device, { shape: [length], dtype: options.dtype ?? "i32" }, values);
}

export interface RandomOptions {
  /** Whole number >= 0; the same seed gives the same numbers on every device. */
  readonly seed: number;
  readonly dtype?: DType;
}

/**
 * Draws uniform numbers in [0, 1).
 *
 * Shapes: -> shape.
 * @param options.dtype  default the device's float
 * @returns a tensor that the caller owns; the same numbers for a seed on every device
 * @throws HeddleError "shape" if an extent is not a whole number >= 0
 */
export function rand(device: Device, shape: Shape, options: RandomOptions): Tensor {
  checkShape("rand", shape);
  const words = randomWords(seedToKey(options.seed), sizeOf(shape), stream.values);
  return fromNumbers(
    device,
    { shape, dtype: options.dtype ?? device.defaultFloat },
    Float64Array.from(words, wordToUnit),
  );
}

/**
 * Draws normal numbers with mean 0 and variance 1, by Box and Muller's method on the host.
 *
 * Shapes: -> shape.
 * @param options.dtype  default the device's float
 * @returns a tensor that the caller owns; the same numbers for a seed on every device
 * @throws HeddleError "shape" if an extent is not a whole number >= 0
 * @see Box and Muller 1958, A Note on the Generation of Random Normal Deviates
 */
export function randn(device: Device, shape: Shape, options: RandomOptions): Tensor {
  checkShape("randn", shape);
  const values = new Float64Array(sizeOf(shape));
  const words = randomWords(seedToKey(options.seed), values.length * 2 + 2, stream.values);
  for (let i = 0; i < values.length; i += 2) {
    const [a = 0, b = 0, c = 0] = [words[2 * i], words[2 * i + 1], words[2 * i + 2]];
    // 53 random bits for the radius so that the tails are not cut off; never log(0).
    const unit = ((a >>> 5) * 2 ** 26 + (b >>> 6) + 1) * 2 ** -53;
    const radius = Math.sqrt(-2 * Math.log(unit));
    values[i] = radius * Math.cos(2 * Math.PI * c * 2 ** -32);
    if (i + 1 < values.length) values[i + 1] = radius * Math.sin(2 * Math.PI * c * 2 ** -32);
  }
  return fromNumbers(device, { shape, dtype: options.dtype ?? device.defaultFloat }, values);
}

/**
 * Makes a random key for `dropout`, `splitKey` and `foldIn`: a tensor, so that compiled steps can take a new one.
 *
 * Shapes: -> u32 [2].
 * @param seed  whole number >= 0
 * @returns a tensor that the caller owns
 */
export function randomKey(device: Device, seed: number): Tensor {
  return fromNumbers(device, { shape: [2], dtype: "u32" }, seedToKey(seed));
}
