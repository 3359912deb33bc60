import { type Device, type DType, type FloatDType, fromBytes, isFloat, type Tensor } from "@heddle/tensor";
import { dequantize } from "./dequantize.js";
import type { GgmlType } from "./ggml-type.js";
import { ggufError } from "./gguf-error.js";
import type { GgufFiles } from "./open-gguf.js";

export interface LoadGgufTensorOptions {
  readonly device: Device;
  /** Dtype of the loaded floats; "stored" keeps F32, F16 and BF16 and makes quantised blocks f32. Default: `device.defaultFloat`. */
  readonly dtype?: FloatDType | "stored";
}

/** Types whose bytes are elements as devices hold them. */
const plain: Partial<Record<GgmlType, DType>> = {
  F32: "f32",
  F16: "f16",
  BF16: "bf16",
  I8: "i8",
  I32: "i32",
};

/**
 * Loads one tensor of a GGUF model onto a device, its blocks dequantised; I8 and I32 stay as they are.
 *
 * Shapes: as in `files.tensors`, row-major.
 * @returns a new tensor; the caller disposes it
 * @throws HeddleError "format" naming file, tensor and byte; "unsupported" for a type that `dequantize` does not know
 */
export async function loadGgufTensor(
  files: GgufFiles,
  name: string,
  { device, dtype = device.defaultFloat }: LoadGgufTensorOptions,
): Promise<Tensor> {
  const bytes = await files.read(name);
  const listed = files.tensors.get(name);
  if (listed === undefined) throw ggufError({ file: "", tensor: name }, { rule: "the tensor must exist" });
  const { type, shape } = listed;
  const own = plain[type];
  if (own !== undefined) return castAndFree(fromBytes(device, { shape, dtype: own }, bytes), dtype);
  const count = shape.reduce((product, size) => product * size, 1);
  const values = dequantize(type, bytes, count);
  const raw = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return castAndFree(fromBytes(device, { shape, dtype: "f32" }, raw), dtype);
}

function castAndFree(tensor: Tensor, dtype: FloatDType | "stored"): Tensor {
  if (dtype === "stored" || !isFloat(tensor.dtype) || tensor.dtype === dtype) return tensor;
  try {
    return tensor.cast(dtype);
  } finally {
    tensor.dispose();
  }
}
