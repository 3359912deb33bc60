import { invariant } from "@heddle/tensor";
import {
  argument,
  type CpuFeatures,
  type FunctionBuilder,
  f32x4,
  i32,
  i32x4,
  type KernelArgument,
  type KernelStep,
  kernelStep,
  type Local,
  laneMath,
  splatConstants,
  v128,
} from "@heddle/tensor/kernel";
import {
  BLOCK_SIZE,
  blockBytes,
  isNested,
  PANEL_ROWS,
  type PartName,
  panelCounts,
  presentParts,
  type QuantLayout,
} from "../quant-format.js";
import { formatKey, panelArguments } from "./panel-arguments.js";
import { blockDots, type DotJob, PANEL_VECTORS } from "./panel-dots.js";
import { entriesBytes, entryAddress, type GroupScales, scaleVectors } from "./panel-scales.js";
import {
  emitEpilogue,
  epilogueArguments,
  epilogueKey,
  type ProductEpilogue,
  type ResultPlace,
} from "./product-epilogue.js";
import { record, recordBytes } from "./quantize-activations.js";
import { type BlockStream, forBlocksReadAhead } from "./read-ahead.js";

/** Rows of activations and panels that the inner loop takes together. */
interface Tile {
  readonly rows: number;
  readonly panels: number;
}

const MAX_TILE_ROWS = 4;
/** Room of one call of `run`: 16 results of each row of a tile. */
const ROOM_BYTES = 64 * MAX_TILE_ROWS;
/** A thread of its own is worth it from about this many multiplications, which take a few microseconds. */
const GRAIN_PRODUCTS = 100_000;
/** With one row and less than this in a piece, what it costs to begin shows. */
const LONG_PRODUCTS = 200_000;

/** Activations are bytes, but 16 bits where the codes are signed bytes. */
export function activationBits({ codeBits }: QuantLayout): 8 | 16 {
  return codeBits === 8 ? 16 : 8;
}

/**
 * One row goes through two panels at once, one of each half of a weight or one of each of two weights: two streams of memory,
 * each of which goes on where it was when the next panels follow, and each activation is loaded once for both.
 */
function tilesOf(rows: number): readonly Tile[] {
  if (rows === 1) return [{ rows: 1, panels: 2 }];
  const rest = rows % MAX_TILE_ROWS;
  const whole = rows >= MAX_TILE_ROWS ? [{ rows: MAX_TILE_ROWS, panels: 1 }] : [];
  return rest === 0 ? whole : [...whole, { rows: rest, panels: 1 }];
}

export interface ProductArguments {
  /** Records of the activations. */
  readonly records: KernelArgument;
  /** The weight's tensors in the order of `partNames`. */
  readonly parts: readonly KernelArgument[];
  /** The tensors of a second weight of the same layout, whose results only the epilogue reads. */
  readonly second?: readonly KernelArgument[] | undefined;
  readonly y: KernelArgument;
  /** Scratch for `productRoom` bytes. */
  readonly room: KernelArgument;
  /** What becomes of the results before they are left in y. The layout must not be ragged. */
  readonly epilogue?: ProductEpilogue | undefined;
}

/** Whether the last panel is filled only in part. */
export function isRagged({ outFeatures }: QuantLayout): boolean {
  return outFeatures % PANEL_ROWS !== 0;
}

/** Scratch bytes of a product: room for the last, partial panel, or for a tile of the second weight's results. */
export function productRoom(layout: QuantLayout, hasSecond = false): number {
  return isRagged(layout) || hasSecond ? panelCounts(layout).numPanels * ROOM_BYTES : 0;
}

/**
 * y [rows, out] = records W^T. A unit is as many panels as a tile, with two those that lie half of all panels apart; each panel is
 * read once for all rows.
 *
 * Whole-number products are scaled once a group, and added up in f32 block after block: the same bits for any number of rows
 * and threads, and with an epilogue those of its ops one after another.
 */
export function productStep(
  layout: QuantLayout,
  rows: number,
  { args, features }: { readonly args: ProductArguments; readonly features: CpuFeatures },
): KernelStep {
  const { numPanels, numBlocks } = panelCounts(layout);
  const { records, parts, second, y, room, epilogue } = args;
  const tiles = tilesOf(rows);
  const tilePanels = tiles[0]?.panels ?? 1;
  const panels = second === undefined ? tilePanels : 1;
  const units = Math.ceil(numPanels / panels);
  const products = rows * numBlocks * 512 * (second === undefined ? panels : 2);
  const numbers = [numPanels, rows, layout.outFeatures].map(argument.i32);
  const shapes = tiles.map((tile) => `${tile.rows}x${tile.panels}`);
  const kinds = [isRagged(layout) && "ragged", second && "two", epilogue && epilogueKey(epilogue)];
  return kernelStep(
    {
      key: ["quant-product", formatKey(layout), shapes, ...kinds.filter(Boolean)].join(":"),
      features,
      args: [
        records,
        room,
        y,
        ...parts,
        ...(second ?? []),
        ...panelArguments(layout),
        ...numbers,
        ...(epilogue === undefined ? [] : epilogueArguments(epilogue)),
      ],
      units,
      grain: grainOf({ rows, units, products }, features),
      isStream: rows === 1,
    },
    (f, parameters, { begin, end }) => {
      const job = openJob(f, parameters, { layout, args, features, begin });
      f.for(begin, end, 1, (unit) => {
        if (tilePanels === 1) return multiplyRows(job, unit, tiles);
        const tile = { row: f.let(i32.const(0)), rows: 1 };
        if (second !== undefined) return multiplyTile(job, [unit], tile);
        const other = f.let(i32.add(unit, i32.shrU(i32.add(job.numPanels, 1), 1)));
        f.if(
          i32.ltU(other, job.numPanels),
          () => multiplyTile(job, [unit, other], tile),
          () => multiplyTile(job, [unit], tile),
        );
      });
    },
  );
}

/**
 * Fewest units worth a thread. With one row the memory is the limit, and a thread that goes on elsewhere begins anew to read its
 * streams: pieces are long then, one or four to a thread.
 */
function grainOf(
  { rows, units, products }: { readonly rows: number; readonly units: number; readonly products: number },
  { threads }: CpuFeatures,
): number {
  const least = GRAIN_PRODUCTS / products;
  if (rows > 1) return least;
  const perThread = units * products < 4 * threads * LONG_PRODUCTS ? 1 : 4;
  return Math.max(least, Math.floor(units / (threads * perThread)));
}

type WeightParts = Partial<Record<PartName, Local<"i32">>>;

interface ProductJob {
  readonly f: FunctionBuilder;
  readonly features: CpuFeatures;
  readonly layout: QuantLayout;
  readonly records: Local<"i32">;
  /** `ROOM_BYTES` of this call of `run`. */
  readonly room: Local<"i32">;
  readonly y: Local<"i32">;
  /** One weight, or two. */
  readonly weights: readonly WeightParts[];
  readonly numBlocks: Local<"i32">;
  readonly numGroups: Local<"i32">;
  readonly numSupers: Local<"i32">;
  readonly blocksPerGroup: Local<"i32">;
  readonly numPanels: Local<"i32">;
  readonly numRows: Local<"i32">;
  readonly outFeatures: Local<"i32">;
  /** Emits what becomes of 16 results of a row. */
  readonly finish: ((place: ResultPlace) => void) | undefined;
}

/** Names the parameters of `run`, in the order of `productStep`'s arguments. */
function openJob(
  f: FunctionBuilder,
  parameters: readonly Local[],
  {
    layout,
    args: { second, epilogue },
    features,
    begin,
  }: {
    readonly layout: QuantLayout;
    readonly args: ProductArguments;
    readonly features: CpuFeatures;
    readonly begin: Local<"i32">;
  },
): ProductJob {
  const left = parameters.values();
  const next = () => {
    const { value } = left.next();
    invariant(value, "a product has all of its arguments");
    return value as Local<"i32">;
  };
  const [records, room, y] = [next(), next(), next()];
  const names = presentParts(layout);
  const weight = (): WeightParts => Object.fromEntries(names.map((name) => [name, next()]));
  const weights = second === undefined ? [weight()] : [weight(), weight()];
  const [numBlocks, numGroups, numSupers, blocksPerGroup] = [next(), next(), next(), next()];
  const [numPanels, numRows, outFeatures] = [next(), next(), next()];
  const common = {
    f,
    features,
    layout,
    records,
    y,
    weights,
    numBlocks,
    numGroups,
    numSupers,
    blocksPerGroup,
  };
  const sizes = { numPanels, numRows, outFeatures };
  const addresses = epilogue?.inputs.map(next) ?? [];
  const constants = splatConstants(f, [...left]);
  const math = laneMath(f, features);
  return {
    ...common,
    ...sizes,
    room: f.let(i32.add(room, i32.mul(begin, ROOM_BYTES))),
    finish: epilogue && ((place) => emitEpilogue(f, { epilogue, addresses, constants, math }, place)),
  };
}

interface PlacedTile {
  readonly rows: number;
  /** First row of activations. */
  readonly row: Local<"i32">;
}

/** One panel against every row: whole tiles, then what is left. */
function multiplyRows(job: ProductJob, panel: Local<"i32">, tiles: readonly Tile[]): void {
  const { f, numRows } = job;
  const row = f.let(i32.const(0));
  for (const tile of tiles) {
    if (tile.rows === MAX_TILE_ROWS) {
      const multiply = () => multiplyTile(job, [panel], { rows: tile.rows, row });
      f.advance(row, i32.sub(numRows, MAX_TILE_ROWS - 1), MAX_TILE_ROWS, multiply);
    } else multiplyTile(job, [panel], { rows: tile.rows, row });
  }
}

/** Addresses that move along one panel. */
interface PanelPointers {
  readonly codes: Local<"i32">;
  readonly scales: GroupScales;
  readonly mins: GroupScales | undefined;
}

function panelPointers(
  { f, layout, numBlocks, numGroups, numSupers }: ProductJob,
  parts: WeightParts,
  panel: Local<"i32">,
): PanelPointers {
  const start = (name: PartName, count: Local<"i32">, bytes: number) => {
    const base = parts[name];
    return base && f.let(entryAddress(base, i32.mul(panel, count), bytes));
  };
  const bytes = entriesBytes(layout);
  const group = (own: "scales" | "mins", above: "superScales" | "superMins"): GroupScales | undefined => {
    const first = start(own, numGroups, bytes);
    return first && { own: first, above: start(above, numSupers, 64) };
  };
  const codes = start("codes", numBlocks, blockBytes(layout)) ?? panel;
  return {
    codes,
    scales: group("scales", "superScales") ?? { own: panel },
    mins: group("mins", "superMins"),
  };
}

/** Some panels of one weight, or one of each of two, against some rows: leaves the results in y. */
function multiplyTile(job: ProductJob, panels: readonly Local<"i32">[], tile: PlacedTile): void {
  const { f, weights, outFeatures, y, room, finish } = job;
  const [first = {}, second] = weights;
  const pointers = (parts: WeightParts) => panels.map((panel) => panelPointers(job, parts, panel));
  const columns = panels.map((panel) => f.let(i32.shl(panel, 4)));
  const places: PanelPlace[] = columns.map((column) => ({
    column,
    target: f.let(i32.add(y, i32.shl(i32.add(i32.mul(tile.row, outFeatures), column), 2))),
    rowBytes: f.let(i32.shl(outFeatures, 2)),
  }));
  const aside = columns.map(
    (column): PanelPlace => ({
      column,
      target: room,
      rowBytes: f.let(i32.const(64)),
    }),
  );
  if (second === undefined) {
    storeTotals(job, places, totalsOf(job, tile, pointers(first)));
  } else if (tile.rows === 1) {
    storeTotals(job, [...places, ...aside], totalsOf(job, tile, [...pointers(first), ...pointers(second)]));
  } else {
    storeTotals(job, places, totalsOf(job, tile, pointers(first)));
    storeTotals(job, aside, totalsOf(job, tile, pointers(second)));
  }
  if (finish === undefined) return;
  for (const { column, target } of places) {
    const at = { target: f.let(target), second: second && f.let(room) };
    const offset = f.let(i32.sub(target, y));
    const rowOffset = f.let(i32.shl(column, 2));
    f.for(0, tile.rows, 1, () => {
      finish({ ...at, offset, rowOffset });
      for (const address of [at.target, offset]) f.increase(address, i32.shl(outFeatures, 2));
      if (at.second) f.increase(at.second, 64);
    });
  }
}

/** Sums of some panels against some rows, [row][vector]: four vectors for each panel. */
function totalsOf(
  { f, layout, features, records, numBlocks, blocksPerGroup }: ProductJob,
  tile: PlacedTile,
  panels: readonly PanelPointers[],
): readonly (readonly Local<"v128">[])[] {
  const bytes = recordBytes(activationBits(layout));
  const rows = Array.from({ length: tile.rows }, (_, m) =>
    f.let(i32.add(records, i32.mul(i32.mul(i32.add(tile.row, m), numBlocks), bytes))),
  );
  const totals = rows.map(() => Array.from({ length: PANEL_VECTORS * panels.length }, () => f.local("v128")));
  for (const total of totals.flat()) f.set(total, f32x4.splat(0));
  const codes = panels.map((pointers) => pointers.codes);
  const dots: DotJob = { f, features, format: layout, codes, rows };
  const inGroup = layout.groupSize > 32 ? f.let(i32.const(0)) : undefined;
  const job = { f, layout };
  // With one row the memory is the limit, with more the arithmetic, and the records of many rows are in the cache anyway.
  const streams = tile.rows === 1 ? smallStreams(layout, rows, panels) : [];
  forBlocksReadAhead(f, numBlocks, streams, (block) => {
    for (const half of layout.groupSize === 16 ? ([0, 1] as const) : (["both"] as const)) {
      addGroup(job, { dots, half, totals, panels });
      if (half !== "both") nextGroup(job, panels);
    }
    for (const address of codes) f.increase(address, blockBytes(layout));
    for (const row of rows) f.increase(row, bytes);
    if (layout.groupSize === 32) nextGroup(job, panels);
    if (inGroup !== undefined) {
      f.increase(inGroup, 1);
      f.if(i32.eq(inGroup, blocksPerGroup), () => {
        f.set(inGroup, 0);
        nextGroup(job, panels);
      });
    }
    if (isNested(layout)) f.if(i32.eq(i32.and(block, 7), 7), () => nextSuper(job, panels));
  });
  return totals;
}

/** What a product reads beside the codes: records, and scales and minima where a block has some of its own. */
function smallStreams(
  layout: QuantLayout,
  rows: readonly Local<"i32">[],
  panels: readonly PanelPointers[],
): BlockStream[] {
  const records = rows.map((address) => ({ address, bytes: recordBytes(activationBits(layout)) }));
  if (layout.groupSize > BLOCK_SIZE) return records;
  const bytes = entriesBytes(layout) * (BLOCK_SIZE / layout.groupSize);
  const groups = panels.flatMap(({ scales, mins }) => (mins === undefined ? [scales] : [scales, mins]));
  return [...records, ...groups.map(({ own }) => ({ address: own, bytes }))];
}

type FormatJob = Pick<ProductJob, "f" | "layout">;

function nextGroup({ f, layout }: FormatJob, panels: readonly PanelPointers[]): void {
  for (const { scales, mins } of panels)
    for (const group of [scales, mins]) if (group) f.increase(group.own, entriesBytes(layout));
}

function nextSuper({ f }: FormatJob, panels: readonly PanelPointers[]): void {
  for (const { scales, mins } of panels)
    for (const group of [scales, mins]) if (group?.above) f.increase(group.above, 64);
}

interface Group {
  readonly dots: DotJob;
  readonly half: 0 | 1 | "both";
  readonly totals: readonly (readonly Local<"v128">[])[];
  readonly panels: readonly PanelPointers[];
}

/** totals += (dots - offset sum(x)) scale(x) scale(w) + min(w) scale(x) sum(x), over one block or half of one. */
function addGroup({ f, layout }: FormatJob, { dots, half, totals, panels }: Group): void {
  // Not fused, so that every engine gives the same bits.
  const madd = (x: Local<"v128">, y: Local<"v128">, z: Local<"v128">) => f32x4.add(f32x4.mul(x, y), z);
  const isWhole = half === "both";
  const minusOffset = (row: Local<"i32">) => {
    const sumOfCodes = i32.load(row, isWhole ? record.sum : record.sums[half]);
    return i32x4.splat(i32.mul(sumOfCodes, -layout.offset));
  };
  const sums = blockDots(dots, { half, start: layout.offset === 0 ? undefined : minusOffset });
  const scaleOf = panels.flatMap(({ scales }) => scaleVectors(f, layout, scales));
  const minOf = panels.flatMap(({ mins }) => (mins ? scaleVectors(f, layout, mins) : []));
  for (const [m, row] of dots.rows.entries()) {
    const scale = f.let(v128.load32Splat(row, record.scale));
    const scaledSum = layout.hasMin
      ? f.let(v128.load32Splat(row, isWhole ? record.scaledSum : record.scaledSums[half]))
      : undefined;
    for (const [v, sum] of sums[m]?.entries() ?? []) {
      const [total, own, min] = [totals[m]?.[v], scaleOf[v], minOf[v]];
      if (total === undefined || own === undefined) continue;
      const whole = f.let(f32x4.convertI32x4S(sum));
      f.set(total, madd(whole, f.let(f32x4.mul(own, scale)), total));
      if (min !== undefined && scaledSum !== undefined) f.set(total, madd(min, scaledSum, total));
    }
  }
}

/** Where the 16 results of a panel go. */
interface PanelPlace {
  /** First output of the panel. */
  readonly column: Local<"i32">;
  /** Address of the first row's, and bytes from row to row. */
  readonly target: Local<"i32">;
  readonly rowBytes: Local<"i32">;
}

function storeTotals(
  { f, layout, outFeatures, room }: ProductJob,
  places: readonly PanelPlace[],
  totals: readonly (readonly Local<"v128">[])[],
): void {
  for (const [m, line] of totals.entries()) {
    for (const [i, place] of places.entries()) {
      const target = f.let(i32.add(place.target, i32.mul(place.rowBytes, m)));
      const vectors = line.slice(i * PANEL_VECTORS, (i + 1) * PANEL_VECTORS);
      const store = (to: Local<"i32">) => {
        for (const [v, total] of vectors.entries()) f.store("v128", to, total, 16 * v);
      };
      if (!isRagged(layout)) {
        store(target);
        continue;
      }
      const left = f.let(i32.sub(outFeatures, place.column));
      const storePart = () => {
        store(room);
        f.copyMemory(target, room, i32.shl(left, 2));
      };
      f.if(i32.geS(left, PANEL_ROWS), () => store(target), storePart);
    }
  }
}
