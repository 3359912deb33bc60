import type { OpCall } from "@heddle/tensor";
import {
  each,
  type PieceBuffer,
  type ProductPiece,
  type ProductTask,
  type ProductText,
  type WgslFeatures,
} from "@heddle/tensor/kernel";
import {
  BLOCK_SIZE,
  PANEL_ROWS,
  panelCounts,
  partTypes,
  presentParts,
  type QuantLayout,
} from "../quant-format.js";
import { chunkOf, constantCode, hasConstants, signShift } from "./chunk-dots.wgsl.js";
import { scaleFunctions, vectorOf } from "./panel-buffers.wgsl.js";
import { roundRows } from "./round-rows.wgsl.js";
import { subgroupSize } from "./subgroup-size.js";

/** Rows of x that a workgroup keeps sums for at most. */
const maxOwnRows = 8;
/** More rows of x than this are worth the tiles of `manyRowsWgsl`. */
const maxRows = 32;
/** Workgroups that a GPU of today keeps busy; with fewer panels each has more threads. */
const enoughGroups = 396;
/** Bytes of codes in a panel that are enough for more than 256 threads. */
const manyBytes = 2 ** 15;
/** Short rows do not need more: threads without a chunk of their own cost software adapters as much as others. */
const minThreads = 64;
/** Vectors of codes that a thread requests together at most: few where many threads do. */
const mostRequested = (threads: number) => (threads > 256 ? 2 : 8);
/** Bytes of workgroup memory in which sums meet. */
const meetingBytes = 8192;

/** How a kernel shares its work; the defaults suit the shape. */
export interface QuantTuning {
  readonly threads?: number;
  /** Panels that a workgroup makes side by side. */
  readonly units?: number;
  /** Such tiles that it makes one after another. */
  readonly panels?: number;
  /** Blocks that a thread requests together. */
  readonly ahead?: number;
}

/**
 * y = x W^T over the codes as they lie, for few rows of x, as a piece of a kernel: x is rounded to int8 in blocks of 32 by each
 * workgroup for itself, after the first codes are requested; whole numbers are multiplied four at a time, sums are f32. Every
 * thread takes 16 bytes of a panel's block, so that neighbours read neighbouring bytes.
 *
 * Undefined for more than 32 rows, for x of another dtype than f32, and where x does not fit in workgroup memory. Twin:
 * `accessPanels` on rounded x.
 */
export function quantProduct(
  layout: QuantLayout,
  { inputs, outputs }: OpCall,
  features: WgslFeatures,
  tuning: QuantTuning = {},
): ProductPiece | undefined {
  const [x, y] = [inputs[0], outputs[0]];
  const { inFeatures, outFeatures } = layout;
  if (x?.dtype !== "f32" || y?.dtype !== "f32" || inFeatures === 0 || outFeatures === 0) return undefined;
  const allRows = x.shape.reduce((product, extent) => product * extent, 1) / inFeatures;
  if (allRows > maxRows || allRows < 1 || inFeatures % 4 !== 0) return undefined;
  const { numPanels, numBlocks, numGroups, numSupers } = panelCounts(layout);
  const numChunks = numBlocks * chunkOf(layout).perBlock;
  const panelBytes = (numBlocks * BLOCK_SIZE * PANEL_ROWS * layout.codeBits) / 8;
  const isSmall = numPanels < enoughGroups && panelBytes >= manyBytes;
  const fitting = Math.min(256, Math.max(minThreads, 2 ** Math.ceil(Math.log2(numChunks))));
  const threads = tuning.threads ?? (isSmall ? Math.min(512, features.maxThreads) : fitting);
  const rowBytes = numBlocks * (BLOCK_SIZE + (hasConstants(layout) ? 12 : 4));
  const room = Math.floor((features.maxWorkgroupBytes - meetingBytes - 4096) / rowBytes);
  if (room < Math.min(allRows, 2)) return undefined;
  const rowBlocks = Math.ceil(allRows / Math.min(room, maxOwnRows));
  const rows = Math.ceil(allRows / rowBlocks);
  return {
    rows,
    rowBlocks,
    inFeatures,
    outFeatures,
    unit: PANEL_ROWS,
    unitsPerTile: tuning.units ?? (allRows === 1 && numPanels > enoughGroups ? 2 : 1),
    threads,
    format: JSON.stringify({ ...layout, outFeatures: 0 }),
    xWidth: 4,
    buffers: weightBuffers(layout),
    params: { outFeatures, numPanels, numBlocks, numGroups, numSupers },
    write: (task) => writeProduct(layout, { rows, tuning }, task),
  };
}

/** 16 bytes of codes, and the scales of four outputs, at once. */
function weightBuffers(layout: QuantLayout): PieceBuffer[] {
  const types = partTypes(layout);
  return presentParts(layout).map((name, i) => {
    const dtype = types[name]?.dtype ?? "u8";
    return { name, input: i + 1, dtype, element: vectorOf(name, dtype) };
  });
}

function writeProduct(
  layout: QuantLayout,
  { rows, tuning }: { readonly rows: number; readonly tuning: QuantTuning },
  task: ProductTask,
): ProductText | undefined {
  const { slots, threads, features, norm } = task;
  const { numBlocks } = panelCounts(layout);
  const chunk = chunkOf(layout);
  const step = threads / chunk.perBlock;
  const fitting = Math.floor(mostRequested(threads) / (chunk.requests * slots.length));
  const ahead = tuning.ahead ?? Math.max(1, Math.min(fitting, Math.ceil(numBlocks / step)));
  const tiles = slots.length > 1 ? 1 : (tuning.panels ?? 1);
  const first = slots[0]?.weight ?? "";
  const numSums = slots.length * rows * chunk.vectors;
  const prefetch = (condition: string) => `    if (${condition}) {
${each(ahead, (u) => each(slots.length, (s) => chunk.load({ u, s, weight: slots[s]?.weight ?? "", step })))}
    }`;
  const variables = each(ahead, (u) => each(slots.length, (s) => chunk.variables({ u, s })));
  const rounding = roundRows({
    rows,
    threads,
    norm,
    features,
    numBlocks,
    isWhole: layout.inFeatures % BLOCK_SIZE === 0,
    hasSums: hasConstants(layout),
  });
  const body = `  let lane = thread % ${chunk.perBlock}u;
  let blockLane = thread / ${chunk.perBlock}u;
${chunk.place}
${variables}
${rounding.request}
  for (var ownTile = 0u; ownTile < ${tiles}u; ownTile++) {
    let tile = firstTile + ownTile;
${each(slots.length, (s) => `    let panel${s} = min(${slots[s]?.unit}, P.${slots[s]?.weight}_numPanels - 1u);`)}
    var block = blockLane;
${prefetch(`block < P.${first}_numBlocks`)}
    if (ownTile == 0u) {
${rounding.body}
    }
    workgroupBarrier();
${each(numSums, (i) => `    var sum${i} = vec4f();`)}
    loop {
      if (block >= P.${first}_numBlocks) { break; }
${each(ahead, (u) => blockCode(layout, { u, step, rows, task }))}
      block += ${ahead * step}u;
  ${prefetch(`block < P.${first}_numBlocks`)}
    }
${meet(layout, { rows, task, tiles })}
  }
${task.epilogue(tiles)}`;
  return {
    enable: rounding.enable,
    declarations: [
      ...rounding.declarations,
      ...slots.map(({ weight }) => scaleFunctions(layout, weight)),
      `var<workgroup> meeting: array<vec4f, ${meetingBytes / 16}>;`,
    ],
    tiles,
    body,
  };
}

/** Adds the products of one block to the sums of all slots and rows. */
function blockCode(
  layout: QuantLayout,
  {
    u,
    step,
    rows,
    task: { slots },
  }: { readonly u: number; readonly step: number; readonly rows: number; readonly task: ProductTask },
): string {
  const chunk = chunkOf(layout);
  const weight = slots[0]?.weight ?? "";
  const constants = hasConstants(layout);
  const divisor = 2 ** signShift(layout);
  return `      { let at = block + ${u * step}u;
      if (at < P.${weight}_numBlocks) {
${each(rows, (m) => {
  const place = rows === 1 ? "at" : `(${m}u * P.${weight}_numBlocks + at)`;
  const scale = `xScales[${place}]${divisor === 1 ? "" : ` * ${1 / divisor}`}`;
  return `        {
          let t = ${scale};
${chunk.operands(place)}
${each(slots.length, (s) => chunk.sums({ u, s, first: (s * rows + m) * chunk.vectors }))}
${constants ? each(slots.length, (s) => constantCode(layout, { u, s, place, first: (s * rows + m) * chunk.vectors })) : ""}
        }`;
})}
      } }`;
}

/** Adds up the sums of threads with the same outputs, some at a time, and leaves them among the results. */
function meet(
  layout: QuantLayout,
  { rows, task, tiles }: { readonly rows: number; readonly task: ProductTask; readonly tiles: number },
): string {
  const { slots, threads, features, norm } = task;
  const { period, vectors } = chunkOf(layout);
  const size = subgroupSize(features);
  const numSums = slots.length * rows * vectors;
  const strides: number[] = [];
  for (let stride = period; stride < size; stride *= 2) strides.push(stride);
  const meeting = Math.max(size, period);
  const teams = threads / meeting;
  const atOnce = Math.max(1, Math.floor(meetingBytes / (teams * period * 16)));
  const rounds = Math.ceil(numSums / atOnce);
  const shuffled = each(numSums, (i) =>
    strides.map((stride) => `    sum${i} += subgroupShuffleXor(sum${i}, ${stride}u);`).join("\n"),
  );
  const scale = norm === "rms" ? " * inverseSqrt(rowSquares(m) / P.columns + P.eps)" : "";
  const isShuffled = size >= teams;
  const meetings = each(rounds, (round) => {
    const from = round * atOnce;
    const count = Math.min(atOnce, numSums - from);
    const outputs = count * period * 4;
    const put = `      let sum = i + ${from}u;
      let m = (sum / ${vectors}u) % ${rows}u;
      let place = (ownTile * ${slots.length}u + sum / ${vectors * rows}u) * ${rows}u + m;
      results[place * ${PANEL_ROWS}u + l * ${vectors * 4}u + (sum % ${vectors}u) * 4u + o % 4u] = total${scale};`;
    // The teams' sums of an output are added up by neighbours, or by one thread.
    const add = isShuffled
      ? `    for (var e = thread; e < ${outputs * teams}u; e += ${threads}u) {
      let o = e / ${teams}u;
      let i = o / ${period * 4}u;
      let l = (o / 4u) % ${period}u;
      var total = meeting[(i * ${period}u + l) * ${teams}u + e % ${teams}u][o % 4u];
${each(Math.log2(teams), (bit) => `      total += subgroupShuffleXor(total, ${2 ** bit}u);`)}
      if (e % ${teams}u == 0u) {
${put}
      }
    }`
      : `    for (var o = thread; o < ${outputs}u; o += ${threads}u) {
      let i = o / ${period * 4}u;
      let l = (o / 4u) % ${period}u;
      var total = 0.0;
      for (var t = 0u; t < ${teams}u; t++) { total += meeting[(i * ${period}u + l) * ${teams}u + t][o % 4u]; }
${put}
    }`;
    return `    if (thread % ${meeting}u < ${period}u) {
${each(count, (i) => `      meeting[(${i * period}u + thread % ${period}u) * ${teams}u + thread / ${meeting}u] = sum${from + i};`)}
    }
    workgroupBarrier();
${add}
${round + 1 < rounds || tiles > 1 ? "    workgroupBarrier();" : ""}`;
  });
  return `${shuffled}\n${meetings}`;
}
