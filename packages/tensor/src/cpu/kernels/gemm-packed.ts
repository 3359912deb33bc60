import type { CpuFeatures, KernelStep } from "../kernel.js";
import { blockArguments, blockModule } from "./gemm-blocks.js";
import { DEPTH_UNROLL, type PackFormat, packModule } from "./gemm-pack.js";
import { batchArguments, type GemmPlan, productBytes } from "./gemm-plan.js";
import { DEPTH_BLOCK, type Tile, tileFor } from "./gemm-tile.js";
import { argument } from "./kernel-step.js";

/** Largest block of C that one unit computes: its share of A and of B stays in the second-level cache. */
const ROW_BLOCK = 96;
const COLUMN_BLOCK = 128;
/** Up to this many rows every unit packs its own columns of B; with more, B is packed once for all. */
const STREAMED_ROWS = 384;
/** A thread of its own is worth it from about this many multiplications, which take a few microseconds. */
const GRAIN_PRODUCTS = 100_000;
const GRAIN_COPIED = 32_768;

/** Scratch offsets of packed A, of packed B or the units' blocks of it, and of the spare tiles. */
interface Places {
  readonly tile: Tile;
  readonly paddedDepth: number;
  readonly a: number;
  readonly b: number;
  readonly spare: number;
}

/** Lines of an operand that are packed together. */
interface Chunk {
  readonly first: number;
  readonly count: number;
}

/** Splits `lines` so that the packed form of a chunk stays within the limit. */
function chunksOf(
  lines: number,
  options: { readonly width: number; readonly lineBytes: number; readonly maxBytes: number },
): Chunk[] {
  const { width, lineBytes, maxBytes } = options;
  const count = Math.max(width, Math.floor(maxBytes / lineBytes / width) * width);
  const chunks: Chunk[] = [];
  for (let first = 0; first < lines; first += count)
    chunks.push({ first, count: Math.min(count, lines - first) });
  return chunks;
}

const alignUp = (bytes: number) => Math.ceil(bytes / 64) * 64;

/** The steps of a product over packed panels. Scratch begins with the product where that lies in scratch itself. */
export function packedSteps(plan: GemmPlan): { readonly steps: KernelStep[]; readonly scratchBytes: number } {
  const { rows, columns, depth, matricesA, matricesB, matricesC, maxPackedBytes: maxBytes, features } = plan;
  const tile = tileFor(features);
  const isStreamed = packsInUnits(plan, tile);
  const paddedDepth = Math.ceil(depth / DEPTH_UNROLL) * DEPTH_UNROLL;
  const bytesA = paddedDepth * 4 * matricesA;
  const bytesB = isStreamed ? DEPTH_BLOCK * 4 * matricesC : paddedDepth * 4 * matricesB;
  const chunksA = chunksOf(rows, { width: tile.rows, lineBytes: bytesA, maxBytes });
  const chunksB = chunksOf(columns, {
    width: isStreamed ? COLUMN_BLOCK : tile.columns,
    lineBytes: bytesB,
    maxBytes,
  });
  const start = productBytes(plan);
  const b = start + alignUp(roundUp(chunksA[0]?.count ?? 0, tile.rows) * bytesA);
  const spare =
    b + alignUp(roundUp(chunksB[0]?.count ?? 0, isStreamed ? COLUMN_BLOCK : tile.columns) * bytesB);
  const places: Places = { tile, paddedDepth, a: start, b, spare };
  const steps: KernelStep[] = [];
  let units = 0;
  for (const chunkA of chunksA) {
    steps.push(packStep(plan, places, { operand: "a", chunk: chunkA }));
    for (const chunkB of chunksB) {
      // With one chunk of B its panels serve every chunk of A.
      if (!isStreamed && (chunksB.length > 1 || chunkA.first === 0))
        steps.push(packStep(plan, places, { operand: "b", chunk: chunkB }));
      const step = blockStep(plan, places, { chunkA, chunkB, isStreamed });
      units = Math.max(units, step.units);
      steps.push(step);
    }
  }
  return { steps, scratchBytes: spare - start + units * tile.rows * tile.columns * 4 };
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}

/** Whether units pack their own columns of B: C has few rows, and its columns alone give every thread work. */
function packsInUnits({ rows, columns, matricesC, features }: GemmPlan, tile: Tile): boolean {
  const units = matricesC * Math.ceil(columns / (2 * tile.columns));
  return rows <= STREAMED_ROWS && (features.threads === 1 || units >= 2 * features.threads);
}

function formatOf(plan: GemmPlan, operand: "a" | "b", tile: Tile): PackFormat {
  const { sharedMemory } = plan.features;
  return operand === "a"
    ? { width: tile.rows, dtype: plan.aDType, isLineContiguous: !plan.transposeA, sharedMemory }
    : { width: tile.columns, dtype: plan.bDType, isLineContiguous: plan.transposeB, sharedMemory };
}

function packStep(
  plan: GemmPlan,
  places: Places,
  { operand, chunk }: { readonly operand: "a" | "b"; readonly chunk: Chunk },
): KernelStep {
  const isA = operand === "a";
  const { rows, columns, depth } = plan;
  const format = formatOf(plan, operand, places.tile);
  const lines = isA ? rows : columns;
  const panels = Math.ceil(chunk.count / format.width);
  const stride = format.isLineContiguous ? depth : lines;
  const numbers = [chunk.count, depth, places.paddedDepth, stride, lines * depth, panels, chunk.first];
  return {
    module: packModule(format),
    args: [
      argument.buffer(isA ? 0 : 1),
      argument.scratch(isA ? places.a : places.b),
      ...numbers.map(argument.i32),
    ],
    units: panels * (isA ? plan.matricesA : plan.matricesB),
    grain: Math.ceil(GRAIN_COPIED / (format.width * places.paddedDepth)),
  };
}

interface BlockStepOptions {
  readonly chunkA: Chunk;
  readonly chunkB: Chunk;
  readonly isStreamed: boolean;
}

function blockStep(
  plan: GemmPlan,
  places: Places,
  { chunkA, chunkB, isStreamed }: BlockStepOptions,
): KernelStep {
  const { features, rows, columns, depth, matricesC } = plan;
  const { tile, paddedDepth } = places;
  const extent = { rows: chunkA.count, columns: chunkB.count };
  const block = isStreamed
    ? { rows: roundUp(extent.rows, tile.rows), columns: streamedColumns(plan, tile, extent.columns) }
    : blockOf(plan, tile, extent);
  const rowBlocks = Math.ceil(extent.rows / block.rows);
  const columnBlocks = Math.ceil(extent.columns / block.columns);
  const { i32 } = argument;
  return {
    module: blockModule(tile, isStreamed ? formatOf(plan, "b", tile) : undefined, features),
    args: blockArguments({
      a: argument.scratch(places.a),
      b: isStreamed ? argument.buffer(1) : argument.scratch(places.b),
      c: plan.product,
      spare: argument.scratch(places.spare),
      blocksB: argument.scratch(places.b),
      rows: i32(extent.rows),
      columns: i32(extent.columns),
      depth: i32(depth),
      paddedDepth: i32(paddedDepth),
      rowBlock: i32(block.rows),
      columnBlock: i32(block.columns),
      rowBlocks: i32(rowBlocks),
      columnBlocks: i32(columnBlocks),
      firstRow: i32(chunkA.first),
      firstColumn: i32(chunkB.first),
      cRows: i32(rows),
      cColumns: i32(columns),
      ...batchArguments(plan.batch),
      strideB: i32(plan.transposeB ? depth : columns),
      elementsB: i32(columns * depth),
    }),
    units: rowBlocks * columnBlocks * matricesC,
    grain: Math.ceil(GRAIN_PRODUCTS / (block.rows * block.columns * paddedDepth)),
  };
}

const unitsWanted = ({ threads }: CpuFeatures) => (threads === 1 ? 1 : threads * 6);

/** Halves the columns of a unit until every thread has several. */
function streamedColumns(plan: GemmPlan, tile: Tile, columns: number): number {
  let width = COLUMN_BLOCK;
  while (Math.ceil(columns / width) * plan.matricesC < unitsWanted(plan.features) && width > 2 * tile.columns)
    width /= 2;
  return width;
}

/** Halves the block of a unit until every thread has several. */
function blockOf(
  plan: GemmPlan,
  tile: Tile,
  c: { readonly rows: number; readonly columns: number },
): { rows: number; columns: number } {
  const wanted = unitsWanted(plan.features);
  let rows = Math.min(ROW_BLOCK, roundUp(c.rows, tile.rows));
  let columns = COLUMN_BLOCK;
  const count = () => Math.ceil(c.rows / rows) * Math.ceil(c.columns / columns) * plan.matricesC;
  while (count() < wanted && (columns > 2 * tile.columns || rows > 2 * tile.rows)) {
    if (columns > 2 * tile.columns) columns /= 2;
    else rows = roundUp(rows / 2, tile.rows);
  }
  return { rows, columns };
}
