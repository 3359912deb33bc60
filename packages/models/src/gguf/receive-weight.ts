import { dequantize, type GgufTensor, ggmlTypeInfo } from "@heddle/checkpoints";
import { type BlockPlace, createBlockPacker, type QuantTensor, quantBlockTypes } from "@heddle/quant";
import { type Device, type FloatDType, fromBytes, fromDeviceBuffer, type Tensor } from "@heddle/tensor";
import type { DecoderConfig } from "../config.js";
import type { StoredPart } from "../loading/weight-map.js";
import type { GgufWeightRule } from "./gguf-family.js";
import { restoreHalves } from "./head-rows.js";

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
  /** Memory of the weight itself in which a piece may wait; see `BlockPacker.roomFor`. */
  readonly roomFor?: (start: number, byteLength: number) => Uint8Array | undefined;
  write(bytes: Uint8Array, place?: BlockPlace): void;
  /** The weight, once all is there; it is the caller's then. */
  finish(): Tensor | QuantTensor;
  /** Frees what has been taken so far; not needed after `finish`. */
  dispose(): void;
}

export interface PartsJob {
  readonly config: DecoderConfig;
  readonly name: string;
  readonly listed: GgufTensor;
  readonly rule: GgufWeightRule;
  readonly device: Device;
  readonly dtype?: FloatDType | "stored";
}

/** Makes the receiver of one weight whose rows begin at byte `start` of a stored tensor. Rows are whole blocks. */
export function receivePart(job: PartsJob, part: StoredPart, start: number): WeightReceiver {
  const { listed, name } = job;
  const rowBytes = listed.byteLength / Math.max(1, rowsOf(listed.shape));
  const end = start + rowsOf(part.shape) * rowBytes;
  const range = { path: part.path, name, start, end };
  if (canQuantize(job, part)) return { ...range, ...packing(job, part, rowBytes) };
  const { dtype = defaultDType(job, part) } = job;
  const straight = isStored(job, dtype) ? straightInto(job, part) : undefined;
  return { ...range, ...(straight ?? atOnce({ ...job, dtype }, part, { rowBytes, sizeBytes: end - start })) };
}

type Receiving = Omit<WeightReceiver, "path" | "name" | "start" | "end">;

/** All axes but the last; of a vector, its elements. */
function rowsOf(shape: readonly number[]): number {
  const outer = shape.length === 1 ? shape : shape.slice(0, -1);
  return outer.reduce((product, size) => product * size, 1);
}

/** Whether the tree takes the part as a weight that is applied, or as a table that is one, too. */
function isMatrix({ rule }: PartsJob, { shape }: StoredPart): boolean {
  return shape.length === 2 && rule.isTable !== true && rule.offset === undefined;
}

function canQuantize(job: PartsJob, part: StoredPart): boolean {
  return isMatrix(job, part) && quantBlockTypes.includes(job.listed.type);
}

/** Packs a matrix while it is read; where the rows of heads are stored in another order, whole heads at a time. */
function packing(
  { config, listed, rule, device }: PartsJob,
  { shape }: StoredPart,
  rowBytes: number,
): Receiving {
  const [rows = 0, columns = 0] = shape;
  const packer = createBlockPacker(device, listed.type, [rows, columns]);
  const { pieceBytes, roomFor, write, finish, dispose } = packer;
  if (rule.interleaved === undefined) return { unitBytes: pieceBytes, roomFor, write, finish, dispose };
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

/** Types whose bytes are elements as devices hold them. */
const plain: Partial<Record<GgufTensor["type"], FloatDType>> = { F32: "f32", F16: "f16", BF16: "bf16" };

/** On the CPU, whose products read half-precision matrices as they are, these stay so; other floats become the device's. */
function defaultDType(job: PartsJob, part: StoredPart): FloatDType {
  const { listed, device } = job;
  const own = plain[listed.type];
  const isKept = own !== undefined && device.kind === "cpu" && isMatrix(job, part);
  return isKept ? own : device.defaultFloat;
}

/** Whether the bytes of the file are those of the tensor. */
function isStored({ listed, rule }: PartsJob, dtype: FloatDType | "stored"): boolean {
  const own = plain[listed.type];
  const isWanted = own !== undefined && (dtype === "stored" || dtype === own);
  return isWanted && rule.offset === undefined && rule.interleaved === undefined;
}

/** A tensor whose own memory is filled from the file; undefined on devices whose memory cannot be. */
function straightInto({ listed, device }: PartsJob, { shape }: StoredPart): Receiving | undefined {
  const dtype = plain[listed.type];
  if (dtype === undefined || device.view === undefined) return undefined;
  const buffer = device.alloc(elementsOf(shape) * ggmlTypeInfo(listed.type).blockBytes);
  const target = device.view(buffer);
  if (target === undefined) {
    device.free(buffer);
    return undefined;
  }
  const tensor = fromDeviceBuffer(device, { shape, dtype }, buffer);
  return {
    unitBytes: 1,
    target,
    write: () => undefined,
    finish: () => tensor,
    dispose: () => tensor.dispose(),
  };
}

function elementsOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** A dense tensor that is made of all its bytes. */
function atOnce(
  job: PartsJob,
  part: StoredPart,
  { rowBytes, sizeBytes }: { readonly rowBytes: number; readonly sizeBytes: number },
): Receiving {
  const { config, rule } = job;
  let made: Tensor | undefined;
  return {
    unitBytes: Math.max(1, sizeBytes),
    write(bytes) {
      const ordered =
        rule.interleaved === undefined
          ? bytes
          : restoreHalves(bytes, { numHeads: config[rule.interleaved], rowBytes });
      made = dense(job, ordered, part.shape);
    },
    finish: () => made ?? dense(job, new Uint8Array(0), part.shape),
    dispose: () => made?.dispose(),
  };
}

function dense(
  { listed: { type }, rule: { offset = 0 }, device, dtype = device.defaultFloat }: PartsJob,
  bytes: Uint8Array,
  shape: readonly number[],
): Tensor {
  const own = plain[type];
  if (own !== undefined && offset === 0) {
    return castAndFree(fromBytes(device, { shape, dtype: own }, bytes), dtype);
  }
  const { blockSize, blockBytes } = ggmlTypeInfo(type);
  const values = dequantize(type, bytes, (bytes.byteLength / blockBytes) * blockSize);
  if (offset !== 0) for (let i = 0; i < values.length; i++) values[i] = (values[i] ?? 0) - offset;
  const raw = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return castAndFree(fromBytes(device, { shape, dtype: "f32" }, raw), dtype);
}

function castAndFree(tensor: Tensor, dtype: FloatDType | "stored"): Tensor {
  if (dtype === "stored" || tensor.dtype === dtype) return tensor;
  try {
    return tensor.cast(dtype);
  } finally {
    tensor.dispose();
  }
}
