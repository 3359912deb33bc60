import type { OpCall } from "@heddle/tensor";
import { type BufferUse, bufferAt, type WgslKernel, wgslStep } from "@heddle/tensor/kernel";
import {
  BLOCK_SIZE,
  blockBytes,
  isNested,
  panelCounts,
  type QuantLayout,
  SUPER_SIZE,
} from "../quant-format.js";
import { partBuffers } from "./panel-buffers.wgsl.js";

/**
 * Widens weights, one thread each: the whole matrix, or the rows that input 0 names. Inputs: ids (with `hasIds`), then the
 * weight's tensors. Twin: `accessPanels`.
 */
export function unpackRowsWgsl(
  layout: QuantLayout,
  { inputs, outputs: [output] }: OpCall,
  { hasIds }: { readonly hasIds: boolean },
): WgslKernel | undefined {
  const ids = hasIds ? inputs[0] : undefined;
  if (output === undefined || output.dtype !== "f32") return undefined;
  if (ids !== undefined && ids.dtype !== "i32" && ids.dtype !== "u32") return undefined;
  const elements = output.shape.reduce((product, extent) => product * extent, 1);
  const { inFeatures, outFeatures, groupSize, offset, hasMin } = layout;
  const { numBlocks, numGroups, numSupers } = panelCounts(layout);
  const idBuffer: BufferUse[] =
    ids === undefined ? [] : [{ name: "ids", memory: bufferAt(0), dtype: ids.dtype, access: "read" }];
  const row = ids === undefined ? "at / P.inFeatures" : "u32(load_ids(at / P.inFeatures))";
  const factor = (name: string) =>
    `f32(load_${name}s(ofGroup))${isNested(layout) ? ` * load_super${upper(name)}s(top)` : ""}`;
  const step = wgslStep({
    buffers: [
      ...idBuffer,
      ...partBuffers(layout, idBuffer.length),
      { name: "y", memory: bufferAt(inputs.length), dtype: "f32", access: "write" },
    ],
    params: { elements, inFeatures, outFeatures, numBlocks, numGroups, numSupers },
    groups: Math.ceil(elements / 256),
    declarations: codeFunction(layout),
    body: `  let at = group * 256u + thread;
  if (at >= P.elements) { return; }
  let row = ${row};
  if (row >= P.outFeatures) { store_y(at, 0.0); return; }
  let k = at % P.inFeatures;
  let panel = row / 16u;
  let ofGroup = (panel * P.numGroups + k / ${groupSize}u) * 16u + row % 16u;
  let top = (panel * P.numSupers + k / ${SUPER_SIZE}u) * 16u + row % 16u;
  let code = f32(codeAt((panel * P.numBlocks + k / ${BLOCK_SIZE}u) * ${blockBytes(layout) / 4}u, row % 16u, k % ${BLOCK_SIZE}u));
  let scale = ${factor("scale")};
  store_y(at, (code - ${offset}.0) * scale${hasMin ? ` + ${factor("min")}` : ""});`,
  });
  return { steps: [step] };
}

const upper = (name: string) => `${name[0]?.toUpperCase()}${name.slice(1)}`;

/** The code of panel row r, input k of the block that begins at a word; where its bits are says `codePieces`. */
function codeFunction({ codeBits }: QuantLayout): string {
  if (codeBits === 8) {
    return `fn codeAt(start: u32, r: u32, k: u32) -> i32 {
  let byte = ((k >> 1u) * 2u + (r >> 3u)) * 16u + (r & 7u) * 2u + (k & 1u);
  return (bitcast<i32>(codes[start + byte / 4u]) << ((3u - byte % 4u) * 8u)) >> 24u;
}`;
  }
  const high =
    codeBits === 4
      ? "0u"
      : `((codes[start + 64u + ((quad & 1u) * 4u + (r >> 2u)) * 4u + (r & 3u)] >> ((k & 3u) * 8u + (quad >> 1u) * 2u)) & 3u)`;
  return `fn codeAt(start: u32, r: u32, k: u32) -> i32 {
  let quad = k >> 2u;
  let low = (codes[start + ((quad & 3u) * 4u + (r >> 2u)) * 4u + (r & 3u)] >> ((k & 3u) * 8u + (quad >> 2u) * 4u)) & 15u;
  return i32(low | (${high} << 4u));
}`;
}
