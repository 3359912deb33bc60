import type { OpCall } from "@heddle/tensor";
import {
  each,
  matrixUnitOf,
  type PieceBuffer,
  type ProductPiece,
  type ProductTask,
  type ProductText,
  type WgslFeatures,
  waitsHere,
} from "@heddle/tensor/kernel";
import {
  BLOCK_SIZE,
  PANEL_ROWS,
  panelCounts,
  partTypes,
  presentParts,
  type QuantLayout,
} from "../quant-format.js";
import { chunkOf, constantCode, hasConstants, scaleValues, signShift } from "./chunk-dots.wgsl.js";
import { vectorOf } from "./panel-buffers.wgsl.js";
import { roundRows } from "./round-rows.wgsl.js";
import { scatterSums } from "./scatter-sums.wgsl.js";
import { subgroupSize } from "./subgroup-size.js";

/** Rows of x that a workgroup keeps sums for at most. */
const maxOwnRows = 8;
/** More rows of x than this are worth the tiles of `manyRowsWgsl`; where those are of matrix units, more than the second. */
const maxRows = 32;
const maxRowsBesideMatrices = 16;
/** Workgroups that a GPU of today keeps busy; with fewer panels each has more threads. */
const enoughGroups = 396;
/** With no more panels a multiprocessor has one workgroup. */
const fewPanels = 192;
/** Bytes of codes in a panel that are enough for 512 threads; few panels of twice as many are for 1024. */
const manyBytes = 2 ** 15;
/** Short rows do not need more: threads without a chunk of their own cost software adapters as much as others. */
const minThreads = 64;
/** Vectors of codes that a thread requests together at most: few where many threads do. */
const mostRequested = (threads: number) => (threads > 256 ? 2 : 8);

/** Threads of a workgroup that suit the shape. More than 512 leave each too few registers for the sums of several rows. */
function threadsFor(
  layout: QuantLayout,
  { rows, features }: { readonly rows: number; readonly features: WgslFeatures },
): number {
  const { maxThreads, joinThreads } = features;
  if (rows === 1 && joinThreads !== undefined) return joinThreads;
  const { numPanels, numBlocks } = panelCounts(layout);
  const panelBytes = (numBlocks * BLOCK_SIZE * PANEL_ROWS * layout.codeBits) / 8;
  if (numPanels < enoughGroups && panelBytes >= manyBytes) {
    const isLong = rows === 1 && numPanels <= fewPanels && panelBytes >= 2 * manyBytes;
    return Math.min(isLong ? 1024 : 512, maxThreads);
  }
  const numChunks = numBlocks * chunkOf(layout).perBlock;
  return Math.min(256, Math.max(minThreads, 2 ** Math.ceil(Math.log2(numChunks))));
}

/** Bytes of workgroup memory in which sums meet at most; a joined step keeps x there as well and has several workgroups side by side. */
const meetingBytes = 8192;
const joinedMeetingBytes = 2048;

/** How a kernel shares its work; the defaults suit the shape. */
export interface QuantTuning {
  readonly threads?: number;
  /** Panels that a workgroup makes side by side. */
  readonly units?: number;
  /** Blocks that a thread requests together. */
  readonly ahead?: number;
}

/**
 * y = x W^T over the codes as they lie, for few rows of x, as a piece of a kernel: x is rounded to int8 in blocks of 32 by each
 * workgroup for itself, after the first codes are requested; whole numbers are multiplied four at a time, sums are f32. Every
 * thread takes 16 bytes of a panel's block, so that neighbours read neighbouring bytes.
 *
 * Undefined for more than 32 rows (16 beside matrix units), for x of another dtype than f32, and where x does not fit in
 * workgroup memory. Twin: `accessPanels` on rounded x.
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
  const most = matrixUnitOf(features) === undefined ? maxRows : maxRowsBesideMatrices;
  if (allRows > most || allRows < 1 || inFeatures % 4 !== 0) return undefined;
  const { numPanels, numBlocks } = panelCounts(layout);
  const threads = tuning.threads ?? threadsFor(layout, { rows: allRows, features });
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
    params: { numPanels },
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
  const rounding = roundRows({
    rows,
    threads,
    norm,
    features,
    numBlocks,
    isWhole: layout.inFeatures % BLOCK_SIZE === 0,
    hasSums: hasConstants(layout),
  });
  // Threads whose turns are all whole need no look at where the row ends.
  const turns = Math.ceil(numBlocks / (ahead * step));
  const isWhole = turns * ahead * step === numBlocks;
  const block = (u: number) => `block + ${u * step}u`;
  const place = (u: number) => (isWhole ? block(u) : `min(${block(u)}, ${numBlocks - 1}u)`);
  const request = each(
    ahead,
    (u) => `      { let at = ${place(u)};
${each(slots.length, (s) => chunk.load({ u, s, weight: slots[s]?.weight ?? "" }))} }`,
  );
  const products = each(
    ahead,
    (u) => `      { let at = ${block(u)};
      ${isWhole ? "" : `if (at < ${numBlocks}u) `}{
${each(slots.length, (s) => scaleValues({ u, s }, layout))}
${each(rows, (m) => rowProducts(layout, { u, m, rows, slots: slots.length }))}
      } }`,
  );
  // Weights are on their way while a joined step waits for x.
  const isJoined = features.joinThreads !== undefined;
  const body = `  let lane = thread % ${chunk.perBlock}u;
  var block = thread / ${chunk.perBlock}u;
${chunk.place}
${each(ahead, (u) => each(slots.length, (s) => chunk.variables({ u, s })))}
${isJoined ? "" : rounding.request}
  let tile = firstTile;
${slots.map(({ unit, weight }, s) => `  let panel${s} = ${unit === "tile" ? "tile" : `min(${unit}, P.${weight}_numPanels - 1u)`};`).join("\n")}
${isWhole ? request : `  if (block < ${numBlocks}u) {\n${request}\n  }`}
${isJoined ? `${waitsHere}\n${rounding.request}` : ""}
${rounding.body}
  workgroupBarrier();
${each(slots.length * rows * chunk.vectors, (i) => `  var sum${i} = vec4f();`)}
  for (var turn = 0u; turn < ${turns}u; turn++) {
${products}
    block += ${ahead * step}u;
    if (${isWhole ? `turn + 1u < ${turns}u` : `block < ${numBlocks}u`}) {
${request}
    }
  }
${meet(layout, { rows, task })}
${task.epilogue(1)}`;
  return {
    enable: rounding.enable,
    declarations: [
      ...rounding.declarations,
      `var<workgroup> meeting: array<f32, ${meetingOf(layout, task).bytes / 4}>;`,
    ],
    tiles: 1,
    body,
  };
}

/** Adds the products of one block and row of x to the sums of all slots. */
function rowProducts(
  layout: QuantLayout,
  {
    u,
    m,
    rows,
    slots,
  }: { readonly u: number; readonly m: number; readonly rows: number; readonly slots: number },
): string {
  const chunk = chunkOf(layout);
  const { numBlocks } = panelCounts(layout);
  const place = rows === 1 ? "at" : `(at + ${m * numBlocks}u)`;
  const divisor = 2 ** signShift(layout);
  const first = (s: number) => (s * rows + m) * chunk.vectors;
  return `        {
          let words = xCodes[${place} * 2u + odd];
          let t = xScales[${place}]${divisor === 1 ? "" : ` * ${1 / divisor}`};
${chunk.operands}
${each(slots, (s) => chunk.sums({ u, s, first: first(s) }))}
${hasConstants(layout) ? each(slots, (s) => constantCode(layout, { u, s, place, first: first(s) })) : ""}
        }`;
}

/** Teams of threads that each bring one part of a sum, sums that meet at once, and the bytes in which they do. */
function meetingOf(
  layout: QuantLayout,
  { threads, features }: Pick<ProductTask, "threads" | "features">,
): { readonly size: number; readonly teams: number; readonly atOnce: number; readonly bytes: number } {
  const { period } = chunkOf(layout);
  const size = Math.max(subgroupSize(features), period);
  const teams = threads / size;
  const sumBytes = teams * period * 16;
  const most = features.joinThreads === undefined ? meetingBytes : joinedMeetingBytes;
  const atOnce = Math.max(1, Math.floor(most / sumBytes));
  return { size, teams, atOnce, bytes: Math.max(most, sumBytes) };
}

/** Adds up the sums of threads with the same outputs, some at a time, and leaves them among the results. */
function meet(
  layout: QuantLayout,
  { rows, task }: { readonly rows: number; readonly task: ProductTask },
): string {
  const { slots, threads, features, norm } = task;
  const { period, vectors } = chunkOf(layout);
  const size = subgroupSize(features);
  const numSums = slots.length * rows * vectors;
  const strides: number[] = [];
  for (let stride = period; stride < size; stride *= 2) strides.push(stride);
  const { size: meeting, teams, atOnce } = meetingOf(layout, task);
  const rounds = Math.ceil(numSums / atOnce);
  const scattered = scatterSums(numSums, strides);
  const scale = norm === "rms" ? " * inverseSqrt(rowSquares(m) / P.columns + P.eps)" : "";
  const meetings = each(rounds, (round) => {
    const from = round * atOnce;
    const count = Math.min(atOnce, numSums - from);
    const add = `    for (var o = thread; o < ${count * period * 4}u; o += ${threads}u) {
      let i = o / ${period * 4}u;
      let l = (o / 4u) % ${period}u;
      let sum = i + ${from}u;
      let m = (sum / ${vectors}u) % ${rows}u;
      let place = (sum / ${vectors * rows}u) * ${rows}u + m;
${addTeams(teams)}
      results[place * ${PANEL_ROWS}u + l * ${vectors * 4}u + (sum % ${vectors}u) * 4u + o % 4u] = total${scale};
    }`;
    return `    if (thread % ${meeting}u < ${period * scattered.sharing}u) {
      let first = thread % ${period}u * 4u + ${scattered.first};
${each(count, (i) =>
  scattered
    .parts(from + i)
    .map(
      (part, w) =>
        `      meeting[(${i * period * 4 + w}u + first) * ${teams}u + thread / ${meeting}u] = ${part};`,
    )
    .join("\n"),
)}
    }
    workgroupBarrier();
${add}
${round + 1 < rounds ? "    workgroupBarrier();" : ""}`;
  });
  return `${scattered.code}\n${meetings}`;
}

/** Adds up what all teams have of output o, four of them side by side. */
function addTeams(teams: number): string {
  if (teams % 4 !== 0)
    return `      var total = 0.0;
      for (var t = 0u; t < ${teams}u; t++) { total += meeting[o * ${teams}u + t]; }`;
  const at = (t: number) => `meeting[o * ${teams}u + t + ${t}u]`;
  return `      var four = vec4f();
      for (var t = 0u; t < ${teams}u; t += 4u) { four += vec4f(${[0, 1, 2, 3].map(at).join(", ")}); }
      let total = (four.x + four.y) + (four.z + four.w);`;
}
