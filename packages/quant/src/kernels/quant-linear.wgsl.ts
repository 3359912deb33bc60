import type { OpCall } from "@heddle/tensor";
import { bufferAt, type WgslKernel, wgslStep } from "@heddle/tensor/kernel";
import {
  BLOCK_SIZE,
  isNested,
  PANEL_ROWS,
  panelCounts,
  type QuantLayout,
  SUPER_SIZE,
} from "../quant-format.js";
import { partBuffers } from "./panel-buffers.wgsl.js";

/** Rows of x that a kernel keeps sums for at most; more go through the widened weight. */
const maxRows = 8;
/** Blocks that a thread has under way together. */
const blocksAhead = 2;

/**
 * y = x W^T for few rows of x, over the codes as they lie: a workgroup for each panel of 16 outputs, 16 bytes of codes a thread
 * at a time. Sums are f32 and exact in x. Undefined for more than 8 rows or other dtypes than f32. Twin: `accessPanels`.
 */
export function quantLinearWgsl(layout: QuantLayout, { inputs, outputs }: OpCall): WgslKernel | undefined {
  const [x, y] = [inputs[0], outputs[0]];
  if (x === undefined || y?.dtype !== "f32" || x.dtype !== "f32") return undefined;
  const { inFeatures, outFeatures } = layout;
  const rows = x.shape.reduce((product, extent) => product * extent, 1) / inFeatures;
  if (rows > maxRows || rows < 1 || inFeatures % 4 !== 0) return undefined;
  const { numPanels, numBlocks, numGroups, numSupers } = panelCounts(layout);
  const lanes = lanesOf(layout);
  // Enough threads for the blocks of a panel, between a subgroup's and a workgroup's.
  const threads = Math.min(256, Math.max(64, 2 ** Math.ceil(Math.log2(numBlocks * lanes.perBlock))));
  const step = wgslStep({
    buffers: [
      { name: "x", memory: bufferAt(0), dtype: "f32", access: "read", element: `vec${lanes.run}f` },
      ...partBuffers(layout, 1).map((use) => (use.name === "codes" ? { ...use, element: "vec4u" } : use)),
      { name: "y", memory: bufferAt(inputs.length), dtype: "f32", access: "write" },
    ],
    params: { outFeatures, runs: inFeatures / lanes.run, numBlocks, numGroups, numSupers },
    threads,
    groups: numPanels,
    declarations: `var<workgroup> parts: array<vec4f, ${threads}>;
fn inputOf(m: u32, run: u32) -> vec${lanes.run}f {
  return select(vec${lanes.run}f(), x[m * P.runs + min(run, P.runs - 1u)], run < P.runs);
}
${scaleFunctions(layout)}`,
    body: `  let lane = thread % ${lanes.perBlock}u;
${lanes.place}
${lines(rows * lanes.vectors, (i) => `  var sum${i} = vec4f();`)}
  var block = thread / ${lanes.perBlock}u;
  let step = ${threads / lanes.perBlock}u;
  for (; block + ${blocksAhead - 1}u * step < P.numBlocks; block += ${blocksAhead}u * step) {
${lines(blocksAhead, (u) => lanes.load(u))}
${lines(blocksAhead, (u) => addBlock(layout, lanes, { rows, u }))}
  }
  for (; block < P.numBlocks; block += step) {
${lanes.load(0)}
${addBlock(layout, lanes, { rows, u: 0 })}
  }
${lines(rows * lanes.vectors, (i) => gather(i, lanes, threads))}`,
  });
  return { steps: [step] };
}

const indices = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
const lines = (count: number, line: (i: number) => string): string => indices(count).map(line).join("\n");

/** What the 16 bytes of one thread hold: `vectors` of four outputs, each over one or two runs of neighbouring inputs. */
interface Lanes {
  /** Threads that share a block of 32 inputs. */
  readonly perBlock: number;
  /** Vectors of four outputs of a thread. */
  readonly vectors: number;
  /** Lanes with the same outputs are this far apart. */
  readonly period: number;
  /** Inputs of a run. */
  readonly run: 2 | 4;
  /** Names the first four of its outputs (`rowQuad`) and what the others need. */
  readonly place: string;
  load(u: number): string;
  /** Which runs of the block's, and which half of the block they lie in. */
  readonly inputs: readonly { readonly run: string; readonly half: string }[];
  /** Codes of output j of vector v over input run i. */
  codes(u: number, place: { readonly v: number; readonly j: number; readonly i: number }): string;
}

function lanesOf({ codeBits }: QuantLayout): Lanes {
  return codeBits === 8 ? byteLanes : nibbleLanes(codeBits);
}

/** 4 outputs x 4 inputs twice: low halves of bytes are inputs 4q.., high halves 16 + 4q... */
function nibbleLanes(codeBits: 4 | 6): Lanes {
  const vectors = codeBits * 4;
  const upper = (u: number, j: number, i: number) =>
    codeBits === 4 ? "" : ` | (((h${u}.${"xyzw"[j]} >> (upperShift + ${i * 4}u)) & 0x03030303u) << 4u)`;
  return {
    perBlock: 16,
    vectors: 1,
    period: 4,
    run: 4,
    place: `  let rowQuad = lane & 3u;
  let quad = lane >> 2u;
  let panelStart = group * P.numBlocks * ${vectors}u;${codeBits === 6 ? "\n  let upperShift = (quad >> 1u) * 2u;" : ""}`,
    load(u) {
      const start = `panelStart + (block + ${u}u * step) * ${vectors}u`;
      const codes = `    let c${u} = codes[${start} + lane];`;
      if (codeBits === 4) return codes;
      return `${codes}\n    let h${u} = codes[${start} + 16u + (quad & 1u) * 4u + rowQuad];`;
    },
    inputs: [
      { run: "quad", half: "0u" },
      { run: "quad + 4u", half: "1u" },
    ],
    codes: (u, { j, i }) =>
      `vec4f(unpack4xU8(((c${u}.${"xyzw"[j]} >> ${i * 4}u) & 0x0f0f0f0fu)${upper(u, j, i)}))`,
  };
}

/** 8 outputs x 2 inputs. */
const byteLanes: Lanes = {
  perBlock: 32,
  vectors: 2,
  period: 2,
  run: 2,
  place: `  let rowQuad = (lane & 1u) * 2u;
  let panelStart = group * P.numBlocks * 32u;`,
  load: (u) => `    let c${u} = codes[panelStart + (block + ${u}u * step) * 32u + lane];`,
  inputs: [{ run: "lane / 2u", half: "lane / 16u" }],
  codes: (u, { v, j }) => `vec2f(unpack4xI8(c${u}.${"xyzw"[v * 2 + (j >> 1)]}).${j % 2 === 0 ? "xy" : "zw"})`,
};

/** Adds one block's products to the sums of every row of x. */
function addBlock(layout: QuantLayout, lanes: Lanes, { rows, u }: { rows: number; u: number }): string {
  const { offset, hasMin, groupSize } = layout;
  const { vectors, inputs, run } = lanes;
  const at = `(block + ${u}u * step)`;
  // With groups of 16 the two halves of a block have scales of their own.
  const isSplit = groupSize < BLOCK_SIZE;
  const groupOf = (half: string) => (isSplit ? `${at} * 2u + ${half}` : `${at} / ${groupSize / BLOCK_SIZE}u`);
  const scaleLines = (isSplit ? inputs : inputs.slice(0, 1)).flatMap(({ half }, i) =>
    indices(vectors).map((v) => {
      const place = `group, ${groupOf(half)}, ${at}, rowQuad + ${v}u`;
      const minimum = hasMin ? ` let n${i}_${v} = minOf(${place});` : "";
      return `      let s${i}_${v} = scaleOf(${place});${minimum}`;
    }),
  );
  const codeLines = inputs.flatMap((_, i) =>
    indices(vectors * 4).map((n) => `      let q${i}_${n} = ${lanes.codes(u, { v: n >> 2, j: n & 3, i })};`),
  );
  const sumLines = indices(rows).flatMap((m) =>
    inputs.flatMap((input, i) => [
      `      let x${m}_${i} = inputOf(${m}u, ${at} * ${BLOCK_SIZE / run}u + ${input.run});`,
      `      let t${m}_${i} = dot(x${m}_${i}, vec${run}f(1.0));`,
      ...indices(vectors).map((v) => {
        const own = isSplit ? i : 0;
        const dots = [0, 1, 2, 3].map((j) => `dot(q${i}_${v * 4 + j}, x${m}_${i})`).join(", ");
        const centred = offset === 0 ? `vec4f(${dots})` : `(vec4f(${dots}) - ${offset}.0 * t${m}_${i})`;
        const minimum = hasMin ? ` + n${own}_${v} * t${m}_${i}` : "";
        return `      sum${m * vectors + v} += s${own}_${v} * ${centred}${minimum};`;
      }),
    ]),
  );
  return ["    {", ...scaleLines, ...codeLines, ...sumLines, "    }"].join("\n");
}

/** Adds up a vector of sums over the threads with the same outputs and stores it. */
function gather(i: number, { vectors, period }: Lanes, threads: number): string {
  const [m, v] = [Math.floor(i / vectors), i % vectors];
  return `  parts[thread] = sum${i};
  for (var half = ${threads / 2}u; half >= ${period}u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) { parts[thread] += parts[thread + half]; }
  }
  if (thread < ${period}u) {
    let n = group * ${PANEL_ROWS}u + (rowQuad + ${v}u) * 4u;
    for (var j = 0u; j < 4u; j++) {
      if (n + j < P.outFeatures) { store_y(${m}u * P.outFeatures + n + j, parts[thread][j]); }
    }
  }
  workgroupBarrier();`;
}

/** Scales and minima of four neighbouring outputs of a panel. */
function scaleFunctions(layout: QuantLayout): string {
  const nested = isNested(layout);
  const four = (name: string) =>
    `vec4f(${[0, 1, 2, 3].map((j) => `f32(load_${name}(at + ${j}u))`).join(", ")})`;
  const make = (
    fn: string,
    name: string,
    above: string,
  ) => `fn ${fn}(panel: u32, g: u32, block: u32, rowQuad: u32) -> vec4f {
  ${nested ? "var" : "let"} at = (panel * P.numGroups + g) * ${PANEL_ROWS}u + rowQuad * 4u;
  let own = ${four(name)};
  ${nested ? `at = (panel * P.numSupers + block / ${SUPER_SIZE / BLOCK_SIZE}u) * ${PANEL_ROWS}u + rowQuad * 4u;\n  return own * ${four(above)};` : "return own;"}
}`;
  return [
    make("scaleOf", "scales", "superScales"),
    layout.hasMin ? make("minOf", "mins", "superMins") : "",
  ].join("\n");
}
