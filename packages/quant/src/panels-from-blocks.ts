import { type GgmlType, ggmlTypeInfo, HeddleError } from "@heddle/tensor";
import type { BlockContent, BlockSource } from "./ggml/block-source.js";
import { q2K, q3K, q4K, q5K, q6K } from "./ggml/k-blocks.js";
import { iq4Nl, mxfp4, q4_0, q4_1, q5_0, q5_1, q8_0 } from "./ggml/legacy-blocks.js";
import { accessPanels, type PanelArrays } from "./panels.js";
import { isNested, type QuantLayout } from "./quant-format.js";

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

/** A weight that is made of stored blocks of a type. */
export interface BlockLayout extends QuantLayout {
  readonly type: GgmlType;
}

/** Bytes of the stored blocks of one row. */
export function bytesOfRow({ type, inFeatures }: BlockLayout): number {
  const { blockSize, blockBytes } = ggmlTypeInfo(type);
  return (inFeatures / blockSize) * blockBytes;
}

/** How blocks of a type are read. @throws HeddleError "unsupported" naming those that are known */
export function blockSourceOf(type: GgmlType): BlockSource {
  const source = sources[type];
  if (source !== undefined) return source;
  const message = `quantFromBlocks: the type must be one of ${quantBlockTypes.join(" ")}; got ${type}.`;
  throw new HeddleError("unsupported", `${message} Load floats as dense tensors, or requantise the file.`, {
    type,
  });
}

/**
 * Writes rows of stored blocks into panels, from `firstRow` on, number by number; rows past the last one are left out. The
 * slow twin of the packing kernels.
 */
export function fillPanels(
  layout: BlockLayout,
  arrays: PanelArrays,
  { bytes, firstRow }: { readonly bytes: Uint8Array; readonly firstRow: number },
): void {
  const source = blockSourceOf(layout.type);
  const { blockSize, blockBytes } = ggmlTypeInfo(layout.type);
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
  const lastRow = Math.min(
    outFeatures,
    firstRow + bytes.byteLength / ((inFeatures / blockSize) * blockBytes),
  );
  let at = 0;
  for (let row = firstRow; row < lastRow; row++) {
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
