import type { GgufTensor } from "@heddle/checkpoints";
import {
  layoutOfBlocks,
  listParts,
  nameParts,
  partTypes,
  type QuantLayout,
  type QuantTensor,
  quantBlockTypes,
  quantFromParts,
} from "@heddle/quant";
import { type Device, type FloatDType, invariant, type Tensor, type TensorType } from "@heddle/tensor";
import type { DecoderConfig } from "../config.js";
import type { StoredPart } from "../loading/weight-map.js";
import type { GgufWeightRule } from "./gguf-family.js";

/** A stored tensor whose weights are to be loaded, and how. */
export interface PartsJob {
  readonly config: DecoderConfig;
  readonly name: string;
  readonly listed: GgufTensor;
  readonly rule: GgufWeightRule;
  readonly device: Device;
  readonly dtype?: FloatDType | "stored";
}

/** A weight of the tree before it is read: which bytes of a stored tensor it is made of, and what it becomes. */
export interface PlannedWeight {
  readonly job: PartsJob;
  readonly path: string;
  readonly shape: readonly number[];
  /** Its bytes, counted from the start of the stored tensor. Rows are whole blocks. */
  readonly start: number;
  readonly end: number;
  readonly rowBytes: number;
  readonly form:
    | { readonly kind: "quantised"; readonly layout: QuantLayout }
    | { readonly kind: "dense"; readonly dtype: FloatDType };
}

/** Plans one weight whose rows begin at byte `start` of a stored tensor. */
export function planWeight(job: PartsJob, part: StoredPart, start: number): PlannedWeight {
  const { byteLength, shape } = job.listed;
  const rowBytes = byteLength / Math.max(1, rowsOf(shape));
  const end = start + rowsOf(part.shape) * rowBytes;
  return { job, path: part.path, shape: part.shape, start, end, rowBytes, form: formOf(job, part) };
}

function formOf(job: PartsJob, part: StoredPart): PlannedWeight["form"] {
  const { type } = job.listed;
  const [rows = 0, columns = 0] = part.shape;
  return isMatrix(job, part) && quantBlockTypes.includes(type)
    ? { kind: "quantised", layout: layoutOfBlocks(type, [rows, columns]) }
    : { kind: "dense", dtype: denseDType(job, part) };
}

/** All axes but the last; of a vector, its elements. */
function rowsOf(shape: readonly number[]): number {
  const outer = shape.length === 1 ? shape : shape.slice(0, -1);
  return outer.reduce((product, size) => product * size, 1);
}

/** Whether the tree takes the part as a weight that is applied, or as a table that is one, too. */
function isMatrix({ rule }: PartsJob, { shape }: StoredPart): boolean {
  return shape.length === 2 && rule.isTable !== true && rule.offset === undefined;
}

/** Types whose bytes are elements as devices hold them. */
export const plainDTypes: Partial<Record<GgufTensor["type"], FloatDType>> = {
  F32: "f32",
  F16: "f16",
  BF16: "bf16",
};

/** On the CPU, whose products read half-precision matrices as they are, these stay so; other floats become the device's. */
function denseDType(job: PartsJob, part: StoredPart): FloatDType {
  const { listed, rule, device, dtype } = job;
  const own = plainDTypes[listed.type];
  if (dtype === "stored") return own !== undefined && rule.offset === undefined ? own : "f32";
  const isKept = own !== undefined && device.kind === "cpu" && isMatrix(job, part);
  return dtype ?? (isKept ? own : device.defaultFloat);
}

/** The tensors that hold a weight on its device, in order. */
export function tensorTypes({ shape, form }: PlannedWeight): readonly TensorType[] {
  if (form.kind === "dense") return [{ shape, dtype: form.dtype }];
  return listParts(partTypes(form.layout));
}

/** The tensors of a weight, in the order of `tensorTypes`. */
export function tensorsOf(weight: Tensor | QuantTensor): readonly Tensor[] {
  return "parts" in weight ? listParts(weight.parts) : [weight];
}

/** The weight whose tensors these are. It owns them. */
export function weightFrom({ path, form }: PlannedWeight, tensors: readonly Tensor[]): Tensor | QuantTensor {
  const [first] = tensors;
  invariant(first, `${path} has tensors`);
  if (form.kind === "dense") return first;
  return quantFromParts(form.layout, nameParts(form.layout, tensors));
}
