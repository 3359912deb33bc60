import type { CachedAttentionParams } from "../cached-params.js";
import { keyRange } from "./cached-rules.wgsl.js";
import type { DecodeCall } from "./decode.wgsl.js";

/** With fewer rows, splitting the keys of each is faster. */
const manyRows = 64;

/** Whether rows are many and read the same keys alike, so that a workgroup may read a tile of keys for several of them. */
export function shareKeys({ params, batch, queryLen }: DecodeCall): boolean {
  const isPlain = !params.inputs.includes("bias") && !params.inputs.includes("distanceBias");
  // Rows of a quantised cache read the newest keys each in its own way.
  return batch * queryLen >= manyRows && isPlain && params.format === undefined;
}

/** How many rows, of how many query heads of one kv head, a workgroup takes together. */
export interface RowTile {
  readonly heads: number;
  readonly rows: number;
  /** Tiles of all rows. */
  readonly rowTiles: number;
}

/** Shares `queries` of a workgroup out among heads and rows. */
export function rowTileOf(
  { batch, queryLen, numHeads, numKvHeads }: DecodeCall,
  queries: number,
  most: 4 | 8 = 4,
): RowTile {
  const group = numHeads / numKvHeads;
  const heads = [8, 4, 2, 1].find((n) => n <= most && group % n === 0) ?? 1;
  const rows = queries / heads;
  return { heads, rows, rowTiles: Math.ceil((batch * queryLen) / rows) };
}

/** Bytes of workgroup memory of `runDeclarations`, for at most so many rows. */
export const runBytes = (rows: number): number => 32 * rows + 64;

/**
 * What a workgroup knows of its rows: row r sees keys `tBegin[r]` up to `tEnd[r]` of slot `tSlot[r]` (-1: none), and its rows are `numRuns`
 * runs, one for each slot.
 */
export function runDeclarations(params: CachedAttentionParams, { rows }: RowTile): string {
  return `/** Keys that some row of a slot sees, and those that each of them sees. */
struct Run { slot: i32, begin: u32, end: u32, allBegin: u32, allEnd: u32 };
var<workgroup> tSlot: array<i32, ${rows}>;
var<workgroup> tBegin: array<u32, ${rows}>;
var<workgroup> tEnd: array<u32, ${rows}>;
var<workgroup> runs: array<Run, ${rows}>;
var<workgroup> numRuns: u32;
struct Keys { slot: i32, begin: u32, end: u32 };
fn keysOf(row: u32) -> Keys {
  let b = row / P.queryLen;
  let t = row % P.queryLen;
${keyRange(params)}
  return Keys(select(-1, slot, isInside), begin, end);
}
fn findRuns(rowCount: u32) {
  var count = 0u;
  for (var r = 0u; r < rowCount; r++) {
    let slot = tSlot[r];
    if (slot < 0) { continue; }
    var n = 0u;
    while (n < count && runs[n].slot != slot) { n++; }
    if (n == count) {
      runs[n] = Run(slot, tBegin[r], tEnd[r], tBegin[r], tEnd[r]);
      count++;
    } else {
      let run = runs[n];
      runs[n] = Run(slot, min(run.begin, tBegin[r]), max(run.end, tEnd[r]), max(run.allBegin, tBegin[r]), min(run.allEnd, tEnd[r]));
    }
  }
  numRuns = count;
}`;
}

/** Statements that name the workgroup's rows, `firstRow` and `rowCount`, and its heads from `h0` on, of kv head `head`. */
export function rowsOf(numHeads: number, { heads, rows }: RowTile): string {
  return `  let rowTile = P.rowTiles - 1u - group / ${numHeads / heads}u; // the last rows of a prompt see most
  let h0 = group % ${numHeads / heads}u * ${heads}u;
  let head = h0 / (P.numHeads / P.kvHeads);
  let firstRow = rowTile * ${rows}u;
  let rowCount = min(${rows}u, P.rows - firstRow);
  if (thread < ${rows}u) {
    var own = Keys(-1, 0u, 0u);
    if (thread < rowCount) { own = keysOf(firstRow + thread); }
    tSlot[thread] = own.slot;
    tBegin[thread] = own.begin;
    tEnd[thread] = own.end;
  }
  workgroupBarrier();
  if (thread == 0u) { findRuns(rowCount); }
  let runCount = workgroupUniformLoad(&numRuns);`;
}

/** `text` for each run of the workgroup's rows, `run`. */
export const eachRun = (text: string): string => `  for (var n = 0u; n < runCount; n++) {
    let run = workgroupUniformLoad(&runs[n]);
${text}
  }`;

/** Index of a vector of eight features of the tile's query m: vector c of `width` features. */
export const rowVector = (
  { heads }: RowTile,
  { m, c, width }: { readonly m: string; readonly c: string; readonly width: number },
): string => {
  const row = `(firstRow + min(${m} / ${heads}u, rowCount - 1u))`;
  return `((${row} / P.queryLen * P.numHeads + h0 + ${m} % ${heads}u) * P.queryLen + ${row} % P.queryLen) * ${width / 8}u + ${c}`;
};
