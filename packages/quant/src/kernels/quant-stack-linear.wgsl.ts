import type { OpCall } from "@heddle/tensor";
import { bufferAt, chosenRows, each, numbered, type WgslKernel, wgslStep } from "@heddle/tensor/kernel";
import { BLOCK_SIZE, PANEL_ROWS, panelCounts, type StackLayout } from "../quant-format.js";
import { partVectors, scaleFunctions } from "./panel-buffers.wgsl.js";
import { floatsFunction, type PanelCodes, panelTask } from "./panel-codes.wgsl.js";

/** Threads that share a panel's block. */
const perBlock = 16;
const axis = (i: number) => "xyzw"[i % 4] ?? "x";

/**
 * y_r = W[which_r] x_r over the codes as they lie, in f32: a workgroup makes the outputs of one panel for one row, or for eight rows of
 * one matrix at a time. Where a matrix does not begin with a panel, those at its ends belong to two, and only its own outputs are stored.
 *
 * Buffers: x [R, in], which [R], the weight's tensors, y [R, out]. Undefined for x of other dtypes than f32 and inner extents that are no
 * multiple of 4. Twin: `productOfOwn`.
 */
export function quantStackLinearWgsl(
  { numMatrices, ...layout }: StackLayout,
  { inputs, outputs: [y] }: OpCall,
): WgslKernel | undefined {
  const [x] = inputs;
  const { inFeatures } = layout;
  const height = layout.outFeatures / numMatrices;
  const rows = x?.shape[0] ?? 0;
  if (x?.dtype !== "f32" || y?.dtype !== "f32" || rows * height * inFeatures === 0) return undefined;
  if (inFeatures % 4 !== 0) return undefined;
  const { numBlocks, numGroups, numSupers } = panelCounts(layout);
  const threads = Math.min(256, Math.max(64, 2 ** Math.ceil(Math.log2(numBlocks * perBlock))));
  const tiles = Math.ceil(height / PANEL_ROWS) + (height % PANEL_ROWS === 0 ? 0 : 1);
  const work = chosenRows({ which: 1, rows, numMatrices, tiles, threads });
  const task = panelTask(layout);
  const vectors = task.outputs / 4;
  /** Threads with the same outputs are this far apart. */
  const period = PANEL_ROWS / task.outputs;
  const step = wgslStep({
    buffers: [
      { name: "x", memory: bufferAt(0), dtype: "f32", access: "read", element: "vec4f" },
      work.buffer,
      ...partVectors(layout, 2),
      { name: "y", memory: bufferAt(inputs.length), dtype: "f32", access: "write" },
    ],
    params: { ...work.params, height, quads: inFeatures / 4, numBlocks, numGroups, numSupers },
    threads,
    groups: work.groups,
    declarations: `var<workgroup> parts: array<vec4f, ${threads}>;
${work.declarations}
${scaleFunctions(layout)}
${floatsFunction(layout)}`,
    body: work.body({
      clear: (row) =>
        `for (var o = tile * ${PANEL_ROWS}u; o < min((tile + 1u) * ${PANEL_ROWS}u, P.height); o++) { store_y(${row} * P.height + o, 0.0); }`,
      product: (count, row, isIn) => {
        const sums = numbered("sum", count * vectors);
        const quads = [...new Set(task.groups(0).map(({ quad }) => quad))];
        const multiply = ({ codes, scale, minimum, quad, output }: PanelCodes) =>
          `      { let w = floatsOf(${codes}, ${scale}, ${minimum});
${each(count, (m) => `        ${sums[m * vectors + (output >> 2)]}.${axis(output)} += dot(w, x${m}_${quads.indexOf(quad)});`)} }`;
        return `  let bPanel0 = (matrix * P.height) / ${PANEL_ROWS}u + tile;
  let bPart0 = thread % ${perBlock}u;
${each(sums.length, (i) => `  var ${sums[i]} = vec4f();`)}
  if (bPanel0 * ${PANEL_ROWS}u < (matrix + 1u) * P.height) {
    for (var block = thread / ${perBlock}u; block < P.numBlocks; block += ${threads / perBlock}u) {
${task.registers(0)}
${task.fetch(0)}
${each(quads.length, (q) => `      let quad${q} = block * ${BLOCK_SIZE / 4}u + ${quads[q]};`)}
${each(count, (m) => each(quads.length, (q) => `      let x${m}_${q} = select(vec4f(), x[${row(m)} * P.quads + min(quad${q}, P.quads - 1u)], quad${q} < P.quads);`))}
${task.groups(0).map(multiply).join("\n")}
    }
  }
${each(
  sums.length,
  (i) => `  parts[thread] = ${sums[i]};
  for (var half = ${threads / 2}u; half >= ${period}u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) { parts[thread] += parts[thread + half]; }
  }
  if (thread < ${period}u && ${isIn(Math.floor(i / vectors))}) {
    for (var j = 0u; j < 4u; j++) {
      let output = bPanel0 * ${PANEL_ROWS}u + ${task.firstOutput(0)} + ${(i % vectors) * 4}u + j;
      if (output >= matrix * P.height && output < (matrix + 1u) * P.height) {
        store_y(${row(Math.floor(i / vectors))} * P.height + output - matrix * P.height, parts[thread][j]);
      }
    }
  }
  workgroupBarrier();`,
)}`;
      },
    }),
  });
  return { steps: [step] };
}
