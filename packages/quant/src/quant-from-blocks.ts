import { type Device, fromBytes, type GgmlType, ggmlTypeInfo, HeddleError } from "@heddle/tensor";
import type { BlockContent, BlockSource } from "./ggml/block-source.js";
import { q2K, q3K, q4K, q5K, q6K } from "./ggml/k-blocks.js";
import { iq4Nl, mxfp4, q4_0, q4_1, q5_0, q5_1, q8_0 } from "./ggml/legacy-blocks.js";
import { panelBytes } from "./panel-bytes.js";
import { accessPanels, createPanels, type PanelArrays } from "./panels.js";
import { isNested, type PartName, partTypes, type QuantFormat, type QuantLayout } from "./quant-format.js";
import { type QuantParts, type QuantTensor, quantFromParts } from "./quant-tensor.js";

const sources: Partial<Record<GgmlType, BlockSource>> = {
  Q4_0: q4_0,
  Q4_1: q4_1,
  Q5_0: q5_0,
  Q5_1: q5_1,
  Q8_0: q8_0,
  Q2_K: q2K,
  Q3_K: q3K,
  Q4_K: q4K,
  Q5_K: q5K,
  Q6_K: q6K,
  IQ4_NL: iq4Nl,
  MXFP4: mxfp4,
};

/** The GGUF types that `quantFromBlocks` takes. */
export const quantBlockTypes = Object.keys(sources) as readonly GgmlType[];

/** How the weights of a GGUF type are held: exactly, whatever the type. */
export function formatOfBlocks(type: GgmlType): QuantFormat {
  return sourceOf(type).format;
}

/**
 * Makes a quantised weight from the stored blocks of a GGUF tensor. No weight changes: `dequantize()` gives what the file says.
 *
 * @param type   type of the blocks, one of `quantBlockTypes`
 * @param bytes  all blocks, row after row
 * @param shape  [out, in]; `in` a multiple of the type's block
 * @returns a weight that the caller disposes
 * @throws HeddleError "unsupported" for another type (load F32, F16 and BF16 as dense tensors), "shape" where bytes and shape differ
 */
export function quantFromBlocks(
  device: Device,
  type: GgmlType,
  bytes: Uint8Array,
  shape: readonly [number, number],
): QuantTensor {
  const source = sourceOf(type);
  const [outFeatures, inFeatures] = shape;
  const { blockSize, blockBytes } = ggmlTypeInfo(type);
  const expected = (outFeatures * inFeatures * blockBytes) / blockSize;
  if (inFeatures % blockSize !== 0 || bytes.byteLength !== expected) {
    throw new HeddleError(
      "shape",
      `quantFromBlocks: ${type} takes ${blockBytes} bytes for each ${blockSize} inputs; got [${shape.join(", ")}], ${bytes.byteLength} bytes. Pass the whole tensor with its shape [out, in].`,
      { type, shape, byteLength: bytes.byteLength },
    );
  }
  const layout: QuantLayout = { ...source.format, inFeatures, outFeatures };
  const arrays = createPanels(layout);
  fillPanels(layout, arrays, { source, bytes, blockSize, blockBytes });
  return quantFromArrays(device, layout, arrays);
}

/** Uploads the arrays of a weight. */
export function quantFromArrays(device: Device, layout: QuantLayout, arrays: PanelArrays): QuantTensor {
  const parts: Partial<Record<PartName, QuantParts[PartName]>> = {};
  for (const [name, type] of Object.entries(partTypes(layout))) {
    const key = name as PartName;
    parts[key] = fromBytes(device, type, panelBytes(type.dtype, arrays[key]));
  }
  return quantFromParts(layout, parts);
}

function sourceOf(type: GgmlType): BlockSource {
  const source = sources[type];
  if (source !== undefined) return source;
  const message = `quantFromBlocks: the type must be one of ${quantBlockTypes.join(" ")}; got ${type}.`;
  throw new HeddleError("unsupported", `${message} Load floats as dense tensors, or requantise the file.`, {
    type,
  });
}

interface StoredBlocks {
  readonly source: BlockSource;
  readonly bytes: Uint8Array;
  readonly blockSize: number;
  readonly blockBytes: number;
}

function fillPanels(
  layout: QuantLayout,
  arrays: PanelArrays,
  { source, bytes, blockSize, blockBytes }: StoredBlocks,
): void {
  const access = accessPanels(layout, arrays);
  const { inFeatures, outFeatures, groupSize } = layout;
  const { scales, mins, superScales, superMins } = arrays;
  const content: BlockContent = {
    codes: new Int16Array(256),
    scales: new Float32Array(16),
    mins: new Float32Array(16),
    supers: new Float32Array(2),
  };
  const groupsPerBlock = blockSize / groupSize;
  let at = 0;
  for (let row = 0; row < outFeatures; row++) {
    for (let start = 0; start < inFeatures; start += blockSize, at += blockBytes) {
      source.read(bytes, at, content);
      for (let i = 0; i < blockSize; i++) access.setCode(row, start + i, content.codes[i] ?? 0);
      for (let j = 0; j < groupsPerBlock; j++) {
        const group = access.groupAt(row, start / groupSize + j);
        if (scales) scales[group] = content.scales[j] ?? 0;
        if (mins) mins[group] = content.mins[j] ?? 0;
      }
      if (!isNested(layout)) continue;
      const top = access.superAt(row, start / blockSize);
      if (superScales) superScales[top] = content.supers[0] ?? 0;
      if (superMins) superMins[top] = content.supers[1] ?? 0;
    }
  }
}
