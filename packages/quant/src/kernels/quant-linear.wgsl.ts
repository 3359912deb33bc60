import type { OpCall } from "@heddle/tensor";
import { bufferAt, each, scratchAt, type WgslKernel, type WgslStep, wgslStep } from "@heddle/tensor/kernel";
import { BLOCK_SIZE, panelCounts, type QuantLayout } from "../quant-format.js";
import { partVectors, scaleFunctions } from "./panel-buffers.wgsl.js";
import { blockDots, codeLanes } from "./panel-dots.wgsl.js";
import { quantizedRow, roundBlock } from "./quantize-activations.wgsl.js";

/** Rows of x that a kernel keeps sums for at most; more go through `manyRowsWgsl`. */
const maxRows = 8;
const threads = 256;

/**
 * y = x W^T for few rows of x, over the codes as they lie: x is rounded to int8 in blocks of 32 as on the CPU, whole numbers
 * are multiplied four at a time, sums are f32. A workgroup makes one panel of 16 outputs. For rows too long for
 * `quantProduct`, whose workgroups keep x: they are rounded by a step before. Undefined for more than 8 rows, or other
 * dtypes than f32. Twin: `accessPanels` on rounded x.
 */
export function quantLinearWgsl(layout: QuantLayout, { inputs, outputs }: OpCall): WgslKernel | undefined {
  const [x, y] = [inputs[0], outputs[0]];
  if (x?.dtype !== "f32" || y?.dtype !== "f32") return undefined;
  const rows = x.shape.reduce((product, extent) => product * extent, 1) / layout.inFeatures;
  if (rows > maxRows || rows < 1 || layout.inFeatures % 4 !== 0) return undefined;
  const { numBlocks } = panelCounts(layout);
  const call = { layout, rows, numInputs: inputs.length };
  return {
    steps: [roundingStep(call), productStep(call)],
    scratch: [rows * numBlocks * BLOCK_SIZE, rows * numBlocks * 16],
  };
}

interface ProductCall {
  readonly layout: QuantLayout;
  readonly rows: number;
  readonly numInputs: number;
}

/** Rounds every row of x into scratch: one thread a block. */
function roundingStep({ layout, rows }: ProductCall): WgslStep {
  const { numBlocks } = panelCounts(layout);
  return wgslStep({
    buffers: [
      { name: "x", memory: bufferAt(0), dtype: "f32", access: "read", element: "vec4f" },
      { name: "xCodes", memory: scratchAt(0), dtype: "u32", access: "words", element: "vec4u" },
      { name: "xScales", memory: scratchAt(1), dtype: "f32", access: "words", element: "vec4f" },
    ],
    params: { quads: layout.inFeatures / 4, numBlocks, blocks: rows * numBlocks },
    threads: 64,
    groups: Math.ceil((rows * numBlocks) / 64),
    declarations: quantizedRow,
    body: `  let block = group * 64u + thread;
  if (block >= P.blocks) { return; }
${roundBlock("(block / P.numBlocks) * P.quads", "block % P.numBlocks", "block")}`,
  });
}

function productStep({ layout, rows, numInputs }: ProductCall): WgslStep {
  const { inFeatures, outFeatures } = layout;
  const { numPanels, numBlocks, numGroups, numSupers } = panelCounts(layout);
  const lanes = codeLanes(layout);
  const numSums = rows * lanes.vectors;
  return wgslStep({
    buffers: [
      { name: "xCodes", memory: scratchAt(0), dtype: "u32", access: "read", element: "vec4u" },
      { name: "xScales", memory: scratchAt(1), dtype: "f32", access: "read", element: "vec4f" },
      ...partVectors(layout, 1),
      { name: "y", memory: bufferAt(numInputs), dtype: "f32", access: "write" },
    ],
    params: { outFeatures, quads: inFeatures / 4, numBlocks, numGroups, numSupers },
    threads,
    groups: numPanels,
    declarations: `var<workgroup> parts: array<vec4f, ${threads}>;
${scaleFunctions(layout)}`,
    body: `  let lane = thread % ${lanes.perBlock}u;
${lanes.place}
${each(numSums, (i) => `  var sum${i} = vec4f();`)}
  for (var block = thread / ${lanes.perBlock}u; block < P.numBlocks; block += ${threads / lanes.perBlock}u) {
${lanes.load}
${blockDots(layout, lanes, rows)}
  }
${each(numSums, (i) => gather(i, lanes))}`,
  });
}

/** Adds up a vector of sums over the threads with the same outputs and stores it. */
function gather(i: number, { vectors, period }: ReturnType<typeof codeLanes>): string {
  const [m, v] = [Math.floor(i / vectors), i % vectors];
  return `  parts[thread] = sum${i};
  for (var half = ${threads / 2}u; half >= ${period}u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) { parts[thread] += parts[thread + half]; }
  }
  if (thread < ${period}u) {
    let n = group * 16u + (rowQuad + ${v}u) * 4u;
    for (var j = 0u; j < 4u; j++) {
      if (n + j < P.outFeatures) { store_y(${m}u * P.outFeatures + n + j, parts[thread][j]); }
    }
  }
  workgroupBarrier();`;
}
