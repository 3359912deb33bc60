import type { Device } from "./device.js";
import { byteWidth, type DType, isFloat, isHalf } from "./dtype.js";
import { HeddleError } from "./error.js";
import { cumsum, logsumexp } from "./ops/accumulate.js";
import { castOp, elementwise, type TensorOrNumber, whereOp } from "./ops/elementwise.js";
import { expandDims, pad, split, squeeze } from "./ops/join.js";
import type { LinearWeight } from "./ops/linear.js";
import { type MatmulOptions, matmul } from "./ops/matmul.js";
import { broadcastOp, reshapeOp, sliceAxis, sliceOp, transposeOp } from "./ops/movement.js";
import {
  argmaxOp,
  argminOp,
  maxOp,
  minOp,
  prodOp,
  type ReduceOptions,
  reducedShape,
  reduceParams,
  sumOp,
} from "./ops/reduce.js";
import { gather, type Ranked, scatterAdd, sort, take, topK } from "./ops/select.js";
import { type AxisOption, logSoftmax, softmax } from "./ops/softmax.js";
import { decode, encode, type HostData, hostArray } from "./reference/host-array.js";
import { adopt, scope } from "./scope.js";
import { formatType, normalizeAxis, type Shape, sizeOf, type TensorType } from "./shape.js";
import type { Source } from "./source.js";
import { Storage } from "./storage.js";

/** Frees the memory of tensors that nobody disposed: a safety net, not the plan. */
const abandoned = new FinalizationRegistry<Storage>((storage) => storage.release());

/**
 * An array of numbers on a device: device + dtype + shape + memory.
 *
 * Values do not change: every method returns a new tensor that the caller owns (only `writeInto` changes one in place).
 * Free tensors with `using`, `dispose()` or `scope(device, fn)`. A matrix is also a `LinearWeight`.
 */
export class Tensor implements LinearWeight {
  readonly device: Device;
  readonly shape: Shape;
  readonly dtype: DType;
  #source: Source | undefined;

  /** Use the creation functions (`tensor`, `zeros`, `randn`, ...) instead. */
  constructor(device: Device, type: TensorType, source: Source) {
    this.device = device;
    this.shape = type.shape;
    this.dtype = type.dtype;
    this.#source = source;
    if (source.kind === "storage") {
      adopt(device, this);
      abandoned.register(this, source.storage, this);
    }
  }

  get rank(): number {
    return this.shape.length;
  }

  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape);
  }

  get byteLength(): number {
    return this.size * byteWidth(this.dtype);
  }

  get isDisposed(): boolean {
    return this.#source === undefined;
  }

  /** For traces and ops: where the values are. */
  get source(): Source {
    if (this.#source === undefined) {
      throw new HeddleError(
        "disposed",
        `Tensor: a tensor may not be used after it was freed; got ${formatType(this)}. Dispose it later, or return it from its scope.`,
        { shape: this.shape, dtype: this.dtype },
      );
    }
    return this.#source;
  }

  /** What computed the values: "wasm", "wgsl", "javascript" (plain loops), "compiled", or "host" for data handed in. */
  get executedOn(): string {
    const { source } = this;
    if (source.kind === "tape") return source.primal.executedOn;
    return source.kind === "storage" ? (source.executedOn ?? "host") : "traced";
  }

  /** For ops: the device memory behind a tensor that has values. */
  storage(caller: string): Storage {
    const { source } = this;
    if (source.kind === "storage") return source.storage;
    if (source.kind === "tape") return source.primal.storage(caller);
    throw new HeddleError(
      "unsupported",
      `${caller}: a tensor has no values while compile traces it; got ${formatType(this)}. Return it from the compiled function and read it there.`,
      { shape: this.shape, dtype: this.dtype },
    );
  }

  /** For ops and traces: another tensor on this device. */
  spawn(type: TensorType, source: Source): Tensor {
    return new Tensor(this.device, type, source);
  }

  /** Frees the memory, unless a reshaped view still uses it. A second call does nothing; traced tensors own no memory. */
  dispose(): void {
    if (this.#source?.kind !== "storage") return;
    abandoned.unregister(this);
    this.#source.storage.release();
    this.#source = undefined;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Copies the raw bytes out, little-endian, in the tensor's dtype. */
  async bytes(): Promise<Uint8Array> {
    return new Uint8Array(await this.device.read(this.storage("bytes").buffer, 0, this.byteLength));
  }

  /** Copies the values out, row-major; half floats as Float32Array, bool as Uint8Array of 0 and 1. */
  async data(): Promise<HostData> {
    return decode(await this.bytes(), this).data;
  }

  /** As `data`, at once, on devices that share memory with JavaScript (reference, cpu). */
  dataSync(): HostData {
    const { readSync } = this.device;
    if (readSync === undefined) {
      throw new HeddleError(
        "unsupported",
        `dataSync: the ${this.device.kind} device can only be read asynchronously; got ${formatType(this)}. Use \`await tensor.data()\`.`,
        { device: this.device.kind },
      );
    }
    const bytes = readSync.call(this.device, this.storage("dataSync").buffer, 0, this.byteLength);
    return decode(new Uint8Array(bytes), this).data;
  }

  /** The value of a tensor with one element. */
  async item(): Promise<number> {
    if (this.size !== 1) {
      throw new HeddleError(
        "shape",
        `item: exactly one element is needed; got ${formatType(this)}. Use \`data()\`, or reduce or slice first.`,
        { shape: this.shape },
      );
    }
    return (await this.data())[0] ?? Number.NaN;
  }

  /** Copies the tensor to another device, in `dtype` where given. The caller owns the copy. */
  async to(device: Device, options: { readonly dtype?: DType } = {}): Promise<Tensor> {
    const { dtype = this.dtype } = options;
    const array = hostArray({ shape: this.shape, dtype });
    array.data.set(await this.data());
    const storage = Storage.allocate(device, this.size * byteWidth(dtype));
    device.write(storage.buffer, encode(array));
    return new Tensor(device, { shape: this.shape, dtype }, { kind: "storage", storage });
  }

  toString(): string {
    return `Tensor(${formatType(this)} on ${this.device.kind})`;
  }

  // A matrix [out, in] is a LinearWeight.
  get outFeatures(): number {
    return this.#matrixExtent(0);
  }
  get inFeatures(): number {
    return this.#matrixExtent(1);
  }
  /** x [.., in] times this matrix [out, in] transposed -> [.., out]. */
  apply(x: Tensor): Tensor {
    this.#matrixExtent(0);
    if (x.rank !== 1) return matmul(x, this, { transposeB: true });
    return scope(this.device, () => matmul(x.reshape([1, x.size]), this, { transposeB: true }).reshape([-1]));
  }
  #matrixExtent(axis: 0 | 1): number {
    if (this.rank !== 2) {
      throw new HeddleError(
        "shape",
        `LinearWeight: a dense weight is a matrix [out, in]; got ${formatType(this)}. Reshape it to two axes.`,
        { shape: this.shape },
      );
    }
    return this.shape[axis] ?? 0;
  }

  // Elementwise; arguments broadcast as in NumPy, and a number takes this tensor's dtype.
  add(other: TensorOrNumber): Tensor {
    return elementwise("add", this, other);
  }
  sub(other: TensorOrNumber): Tensor {
    return elementwise("sub", this, other);
  }
  mul(other: TensorOrNumber): Tensor {
    return elementwise("mul", this, other);
  }
  div(other: TensorOrNumber): Tensor {
    return elementwise("div", this, other);
  }
  pow(exponent: TensorOrNumber): Tensor {
    return elementwise("pow", this, exponent);
  }
  maximum(other: TensorOrNumber): Tensor {
    return elementwise("maximum", this, other);
  }
  minimum(other: TensorOrNumber): Tensor {
    return elementwise("minimum", this, other);
  }
  equal(other: TensorOrNumber): Tensor {
    return elementwise("equal", this, other);
  }
  notEqual(other: TensorOrNumber): Tensor {
    return elementwise("notEqual", this, other);
  }
  less(other: TensorOrNumber): Tensor {
    return elementwise("less", this, other);
  }
  lessEqual(other: TensorOrNumber): Tensor {
    return elementwise("lessEqual", this, other);
  }
  greater(other: TensorOrNumber): Tensor {
    return elementwise("greater", this, other);
  }
  greaterEqual(other: TensorOrNumber): Tensor {
    return elementwise("greaterEqual", this, other);
  }
  logicalAnd(other: Tensor): Tensor {
    return elementwise("logicalAnd", this, other);
  }
  logicalOr(other: Tensor): Tensor {
    return elementwise("logicalOr", this, other);
  }
  logicalNot(): Tensor {
    return elementwise("logicalNot", this);
  }
  neg(): Tensor {
    return elementwise("neg", this);
  }
  abs(): Tensor {
    return elementwise("abs", this);
  }
  sign(): Tensor {
    return elementwise("sign", this);
  }
  floor(): Tensor {
    return elementwise("floor", this);
  }
  reciprocal(): Tensor {
    return elementwise("reciprocal", this);
  }
  square(): Tensor {
    return elementwise("square", this);
  }
  exp(): Tensor {
    return elementwise("exp", this);
  }
  log(): Tensor {
    return elementwise("log", this);
  }
  sqrt(): Tensor {
    return elementwise("sqrt", this);
  }
  rsqrt(): Tensor {
    return elementwise("rsqrt", this);
  }
  tanh(): Tensor {
    return elementwise("tanh", this);
  }
  sigmoid(): Tensor {
    return elementwise("sigmoid", this);
  }
  erf(): Tensor {
    return elementwise("erf", this);
  }
  sin(): Tensor {
    return elementwise("sin", this);
  }
  cos(): Tensor {
    return elementwise("cos", this);
  }
  /** Limits values to min..max; the gradient is 0 outside. */
  clamp(range: { readonly min?: number; readonly max?: number }): Tensor {
    const { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY } = range;
    return scope(this.device, () => {
      const inside = this.greaterEqual(min).logicalAnd(this.lessEqual(max));
      return whereOp(inside, this, elementwise("minimum", elementwise("maximum", this.detach(), min), max));
    });
  }
  /** Converts to another dtype: floats round to nearest, integers truncate towards zero, bool is "not zero". */
  cast(dtype: DType): Tensor {
    return dtype === this.dtype ? this.reshape(this.shape) : castOp.call([this], { dtype });
  }
  /** The same values without a gradient. */
  detach(): Tensor {
    const { source } = this;
    return source.kind === "tape" ? source.primal.detach() : this.reshape(this.shape);
  }

  // Reductions over `axes` (default: all).
  sum(options: ReduceOptions = {}): Tensor {
    return sumOp.call([this], reduceParams("sum", this, options));
  }
  mean(options: ReduceOptions = {}): Tensor {
    const params = reduceParams("mean", this, options);
    const count = this.size / Math.max(sizeOf(reducedShape(this.shape, params)), 1);
    if (!isFloat(this.dtype)) {
      throw new HeddleError(
        "dtype",
        `mean: a float tensor is needed; got ${formatType(this)}. Convert it with \`.cast("f32")\`.`,
        { dtype: this.dtype },
      );
    }
    // The sum of half floats may exceed their range where the mean does not.
    return scope(this.device, () =>
      isHalf(this.dtype)
        ? sumOp
            .call([this.cast("f32")], params)
            .mul(1 / count)
            .cast(this.dtype)
        : sumOp.call([this], params).mul(1 / count),
    );
  }
  max(options: ReduceOptions = {}): Tensor {
    return maxOp.call([this], reduceParams("max", this, options));
  }
  min(options: ReduceOptions = {}): Tensor {
    return minOp.call([this], reduceParams("min", this, options));
  }
  prod(options: ReduceOptions = {}): Tensor {
    return prodOp.call([this], reduceParams("prod", this, options));
  }
  /** Index of the largest element along one axis, as i32; the first where several are equal. */
  argmax(options: AxisOption & { readonly keepDims?: boolean } = {}): Tensor {
    const axis = normalizeAxis("argmax", options.axis ?? -1, this.rank);
    return argmaxOp.call([this], { axis, keepDims: options.keepDims ?? false });
  }
  /** Index of the smallest element along one axis, as i32; the first where several are equal. */
  argmin(options: AxisOption & { readonly keepDims?: boolean } = {}): Tensor {
    const axis = normalizeAxis("argmin", options.axis ?? -1, this.rank);
    return argminOp.call([this], { axis, keepDims: options.keepDims ?? false });
  }
  logsumexp(options: ReduceOptions = {}): Tensor {
    return logsumexp(this, options);
  }
  cumsum(options: AxisOption = {}): Tensor {
    return cumsum(this, options);
  }
  softmax(options: AxisOption = {}): Tensor {
    return softmax(this, options);
  }
  logSoftmax(options: AxisOption = {}): Tensor {
    return logSoftmax(this, options);
  }

  matmul(other: Tensor, options: MatmulOptions = {}): Tensor {
    return matmul(this, other, options);
  }

  // Movement.
  /** The same elements under another shape (one extent may be -1), sharing memory. */
  reshape(shape: Shape): Tensor {
    return reshapeOp.call([this], { shape });
  }
  /** Reorders axes; without a permutation, swaps the last two. */
  transpose(permutation?: readonly number[]): Tensor {
    const axes = this.shape.map((_, axis) => axis);
    return transposeOp.call([this], {
      permutation: permutation ?? [...axes.slice(0, -2), ...axes.slice(-2).reverse()],
    });
  }
  /** A box of the tensor: `sizes[i]` elements from `starts[i]`, every `steps[i]`-th, on each axis. */
  slice(
    starts: readonly number[],
    sizes: readonly number[],
    options: { readonly steps?: readonly number[] } = {},
  ): Tensor {
    return sliceOp.call([this], { starts, sizes, steps: options.steps ?? starts.map(() => 1) });
  }
  /** Elements start..end-1 along one axis (negative from the end), all of the others. */
  narrow(axis: number, start: number, end: number): Tensor {
    return sliceAxis(this, normalizeAxis("narrow", axis, this.rank), start, end);
  }
  /** Repeats axes of extent 1, and adds leading ones. */
  broadcastTo(shape: Shape): Tensor {
    return broadcastOp.call([this], { shape });
  }
  split(sizes: number | readonly number[], options: AxisOption = {}): Tensor[] {
    return split(this, sizes, options);
  }
  pad(amounts: readonly (readonly [number, number])[], options: { readonly value?: number } = {}): Tensor {
    return pad(this, amounts, options);
  }
  expandDims(axis: number): Tensor {
    return expandDims(this, axis);
  }
  squeeze(axes?: readonly number[]): Tensor {
    return squeeze(this, axes);
  }

  // Selection.
  take(indices: Tensor, options: AxisOption = {}): Tensor {
    return take(this, indices, options);
  }
  gather(indices: Tensor, options: AxisOption = {}): Tensor {
    return gather(this, indices, options);
  }
  scatterAdd(indices: Tensor, updates: Tensor, options: AxisOption = {}): Tensor {
    return scatterAdd(this, indices, updates, options);
  }
  topK(k: number, options: AxisOption & { readonly largest?: boolean } = {}): Ranked {
    return topK(this, k, options);
  }
  sort(options: AxisOption & { readonly descending?: boolean } = {}): Ranked {
    return sort(this, options);
  }
}
