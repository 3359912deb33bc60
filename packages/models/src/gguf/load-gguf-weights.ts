import { dequantize, type GgufFiles, type GgufTensor, ggmlTypeInfo } from "@heddle/checkpoints";
import { createBlockPacker, type QuantTensor, quantBlockTypes, quantFromBlocks } from "@heddle/quant";
import { type Device, disposeTree, type FloatDType, fromBytes, invariant, type Tensor } from "@heddle/tensor";
import type { DecoderConfig } from "../config.js";
import { findFamily } from "../families/registry.js";
import type { LoadWeightsOptions } from "../loading/load-weights.js";
import { locateWeights, type StoredPart } from "../loading/weight-map.js";
import type { DecoderWeights } from "../weights.js";
import { factorTensors } from "./gguf-config.js";
import type { GgufFamily, GgufWeightRule } from "./gguf-family.js";
import { restoreHalves } from "./head-rows.js";
import { ruleOf } from "./weight-rules.js";

/**
 * Loads the tensors of a GGUF file into the tree of a configuration, all or none; quantised matrices stay quantised.
 *
 * Names and shapes of all tensors are checked before the first is read. One tensor's bytes at a time are held beside those
 * of the device.
 * @returns a tree that the caller disposes
 * @throws HeddleError "format" listing every tensor that is missing, unexpected or of another shape
 */
export async function loadGgufWeights(
  config: DecoderConfig,
  files: GgufFiles,
  { family, onProgress, signal, ...options }: LoadWeightsOptions & { readonly family: GgufFamily },
): Promise<DecoderWeights> {
  const own = new Map([...files.tensors].filter(([name]) => !factorTensors.has(name)));
  const located = locateWeights(config, own, { rules: family.rules });
  const totalBytes = located.reduce((sum, { name }) => sum + (own.get(name)?.byteLength ?? 0), 0);
  const byPath = new Map<string, Tensor | QuantTensor>();
  let loadedBytes = 0;
  try {
    for (const weight of located) {
      signal?.throwIfAborted();
      const listed = own.get(weight.name);
      invariant(listed, `${weight.name} was located`);
      const job = { config, listed, rule: ruleOf(family, weight.name), ...options };
      const [only, ...others] = weight.parts;
      if (only !== undefined && others.length === 0 && canStream(job, only)) {
        byPath.set(only.path, await streamed(job, files, { name: weight.name, part: only }));
      } else {
        const bytes = await files.read(weight.name);
        for (const [path, part] of makeParts(job, bytes, weight.parts)) byPath.set(path, part);
      }
      loadedBytes += listed.byteLength;
      onProgress?.({ loadedBytes, totalBytes });
    }
  } catch (error) {
    disposeTree([...byPath.values()]);
    throw error;
  }
  const take = (path: string) => {
    const weight = byPath.get(path);
    invariant(weight, `the weight map covers ${path}`);
    // Only matrices that a tree takes as LinearWeight or table are quantised: `canQuantize`.
    return weight as Tensor;
  };
  return findFamily(config.family).architecture.buildWeights(config, take) as DecoderWeights;
}

interface PartsJob {
  readonly config: DecoderConfig;
  readonly listed: GgufTensor;
  readonly rule: GgufWeightRule;
  readonly device: Device;
  readonly dtype?: FloatDType | "stored";
}

/** Cuts the rows of a stored tensor into the weights that it holds. Rows are whole blocks, so no block is touched. */
function makeParts(
  job: PartsJob,
  bytes: Uint8Array,
  parts: readonly StoredPart[],
): [string, Tensor | QuantTensor][] {
  const { config, listed, rule } = job;
  const rowBytes = listed.byteLength / Math.max(1, rowsOf(listed.shape));
  const ordered =
    rule.interleaved === undefined
      ? bytes
      : restoreHalves(bytes, { numHeads: config[rule.interleaved], rowBytes });
  let start = 0;
  return parts.map(({ path, shape }): [string, Tensor | QuantTensor] => {
    const size = rowsOf(shape) * rowBytes;
    const own = ordered.subarray(start, start + size);
    start += size;
    return [path, canQuantize(job, path, shape) ? quantized(job, own, shape) : dense(job, own, shape)];
  });
}

/** All axes but the last; of a vector, its elements. */
function rowsOf(shape: readonly number[]): number {
  const outer = shape.length === 1 ? shape : shape.slice(0, -1);
  return outer.reduce((product, size) => product * size, 1);
}

function canQuantize({ listed, rule }: PartsJob, path: string, shape: readonly number[]): boolean {
  const isMatrix = shape.length === 2 && path !== "positionEmbedding";
  return isMatrix && rule.offset === undefined && quantBlockTypes.includes(listed.type);
}

/** Whether rows can be taken as they come: their order stays. */
function canStream(job: PartsJob, { path, shape }: StoredPart): boolean {
  return job.rule.interleaved === undefined && canQuantize(job, path, shape);
}

/** Packs a matrix piece by piece, so that its bytes are never held beside it as a whole. */
async function streamed(
  { listed, device }: PartsJob,
  files: GgufFiles,
  { name, part }: { readonly name: string; readonly part: StoredPart },
): Promise<QuantTensor> {
  const [rows = 0, columns = 0] = part.shape;
  const packer = createBlockPacker(device, listed.type, [rows, columns]);
  try {
    for await (const piece of files.pieces(name, packer.pieceBytes)) packer.write(piece);
    return packer.finish();
  } catch (error) {
    packer.dispose();
    throw error;
  }
}

function quantized({ listed, device }: PartsJob, bytes: Uint8Array, shape: readonly number[]): QuantTensor {
  const [rows = 0, columns = 0] = shape;
  return quantFromBlocks(device, listed.type, bytes, [rows, columns]);
}

/** Types whose bytes are elements as devices hold them. */
const plain: Partial<Record<GgufTensor["type"], FloatDType>> = { F32: "f32", F16: "f16", BF16: "bf16" };

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
