import { dequantize, ggmlTypeInfo } from "@heddle/checkpoints";
import { type BlockPlace, createBlockPacker, type QuantTensor } from "@heddle/quant";
import { type FloatDType, fromBytes, type Tensor } from "@heddle/tensor";
import { viewedTensor } from "../loading/viewed-tensor.js";
import { restoreHalves } from "./head-rows.js";
import { type PlannedWeight, plainDTypes } from "./planned-weight.js";

/** Takes the bytes of one weight piece by piece. The range `start`..`end` counts from the start of the stored tensor. */
export interface WeightReceiver {
  readonly path: string;
  readonly name: string;
  readonly start: number;
  readonly end: number;
  /** A piece is a multiple of these bytes, but for the last. */
  readonly unitBytes: number;
  /** Where the bytes are wanted, if they need no change. */
  readonly target?: Uint8Array;
  write(bytes: Uint8Array, place?: BlockPlace): void;
  /** The weight, once all is there; it is the caller's then. */
  finish(): Tensor | QuantTensor;
  /** Frees what has been taken so far; not needed after `finish`. */
  dispose(): void;
}

/** Makes the receiver of one weight. */
export function receiveWeight(planned: PlannedWeight): WeightReceiver {
  const { job, path, start, end, form } = planned;
  const receiving =
    form.kind === "quantised"
      ? packing(planned)
      : ((isStored(planned, form.dtype) ? straightInto(planned, form.dtype) : undefined) ??
        atOnce(planned, form.dtype));
  return { path, name: job.name, start, end, ...receiving };
}

type Receiving = Omit<WeightReceiver, "path" | "name" | "start" | "end">;

/** Packs a matrix while it is read; where the rows of heads are stored in another order, whole heads at a time. */
function packing({ job: { config, listed, rule, device }, shape, rowBytes }: PlannedWeight): Receiving {
  const [rows = 0, columns = 0] = shape;
  const packer = createBlockPacker(device, listed.type, [rows, columns]);
  const { pieceBytes, write, finish, dispose } = packer;
  if (rule.interleaved === undefined) return { unitBytes: pieceBytes, write, finish, dispose };
  const headBytes = (rows / config[rule.interleaved]) * rowBytes;
  return {
    unitBytes: leastCommonMultiple(pieceBytes, headBytes),
    write: (bytes) =>
      packer.write(restoreHalves(bytes, { numHeads: bytes.byteLength / headBytes, rowBytes })),
    finish,
    dispose,
  };
}

function leastCommonMultiple(a: number, b: number): number {
  let [x, y] = [a, b];
  while (y !== 0) [x, y] = [y, x % y];
  return (a / x) * b;
}

/** Whether the bytes of the file are those of the tensor. */
function isStored({ job: { listed, rule } }: PlannedWeight, dtype: FloatDType): boolean {
  return plainDTypes[listed.type] === dtype && rule.offset === undefined && rule.interleaved === undefined;
}

/** A tensor whose own memory is filled from the file; undefined on devices whose memory cannot be. */
function straightInto({ job: { device }, shape }: PlannedWeight, dtype: FloatDType) {
  const made = viewedTensor(device, { shape, dtype });
  if (made === undefined) return undefined;
  const { tensor, bytes } = made;
  return {
    unitBytes: 1,
    target: bytes,
    write: () => undefined,
    finish: () => tensor,
    dispose: () => tensor.dispose(),
  };
}

/** A dense tensor that is made of all its bytes. */
function atOnce(planned: PlannedWeight, dtype: FloatDType): Receiving {
  const { job, rowBytes, start, end } = planned;
  const { config, rule } = job;
  let made: Tensor | undefined;
  return {
    unitBytes: Math.max(1, end - start),
    write(bytes) {
      const ordered =
        rule.interleaved === undefined
          ? bytes
          : restoreHalves(bytes, { numHeads: config[rule.interleaved], rowBytes });
      made = dense(planned, ordered, dtype);
    },
    finish: () => made ?? dense(planned, new Uint8Array(0), dtype),
    dispose: () => made?.dispose(),
  };
}

function dense({ job, shape }: PlannedWeight, bytes: Uint8Array, dtype: FloatDType): Tensor {
  const { device, rule, listed } = job;
  const { type } = listed;
  const { offset = 0 } = rule;
  const own = plainDTypes[type];
  if (own !== undefined && offset === 0) {
    return castAndFree(fromBytes(device, { shape, dtype: own }, bytes), dtype);
  }
  const { blockSize, blockBytes } = ggmlTypeInfo(type);
  const values = dequantize(type, bytes, (bytes.byteLength / blockBytes) * blockSize);
  if (offset !== 0) for (let i = 0; i < values.length; i++) values[i] = (values[i] ?? 0) - offset;
  const raw = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return castAndFree(fromBytes(device, { shape, dtype: "f32" }, raw), dtype);
}

function castAndFree(tensor: Tensor, dtype: FloatDType): Tensor {
  if (tensor.dtype === dtype) return tensor;
  try {
    return tensor.cast(dtype);
  } finally {
    tensor.dispose();
  }
}
