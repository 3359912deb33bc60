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
  v128,
} from "@heddle/tensor/kernel";
import {
  blockBytes,
  isNested,
  PANEL_ROWS,
  type PartName,
  panelCounts,
  partNames,
  partTypes,
  type QuantLayout,
} from "../quant-format.js";
import { formatKey, panelArguments } from "./panel-arguments.js";
import { blockDots, type DotJob, PANEL_VECTORS } from "./panel-dots.js";
import { entriesBytes, entryAddress, type GroupScales, scaleVectors } from "./panel-scales.js";
import { record, recordBytes } from "./quantize-activations.js";

/** Rows of activations and panels that the inner loop takes together. */
interface Tile {
  readonly rows: number;
  readonly panels: number;
}

const MAX_TILE_ROWS = 4;
/** A thread of its own is worth it from about this many multiplications, which take a few microseconds. */
const GRAIN_PRODUCTS = 100_000;

/** Activations are bytes, but 16 bits where the codes are signed bytes. */
export function activationBits({ codeBits }: QuantLayout): 8 | 16 {
  return codeBits === 8 ? 16 : 8;
}

/** One row goes through two panels at once: two streams of memory, and each activation is loaded once for both. */
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
  readonly y: KernelArgument;
  /** Scratch for `productRoom(layout)` bytes. */
  readonly room: KernelArgument;
}

/** Scratch bytes of a product: room for the last, partial panel. */
export function productRoom(layout: QuantLayout): number {
  return layout.outFeatures % PANEL_ROWS === 0 ? 0 : panelCounts(layout).numPanels * 64;
}

/**
 * y [rows, out] = records W^T. A unit is as many panels as a tile; each panel is read once for all rows.
 *
 * Whole-number products are scaled once a group, and added up in f32 block after block: the same bits for any number of rows
 * and threads.
 */
export function productStep(
  layout: QuantLayout,
  rows: number,
  {
    args: { records, parts, y, room },
    features,
  }: { readonly args: ProductArguments; readonly features: CpuFeatures },
): KernelStep {
  const { numPanels, numBlocks } = panelCounts(layout);
  const { outFeatures } = layout;
  const tiles = tilesOf(rows);
  const panels = tiles[0]?.panels ?? 1;
  const isRagged = outFeatures % PANEL_ROWS !== 0;
  const numbers = [
    ...panelArguments(layout),
    argument.i32(numPanels),
    argument.i32(rows),
    argument.i32(outFeatures),
  ];
  const shapes = tiles.map((tile) => `${tile.rows}x${tile.panels}`);
  return kernelStep(
    {
      key: `quant-product:${formatKey(layout)}:${shapes}${isRagged ? ":ragged" : ""}`,
      features,
      args: [records, room, y, ...parts, ...numbers],
      units: Math.ceil(numPanels / panels),
      grain: GRAIN_PRODUCTS / (rows * numBlocks * 512 * panels),
    },
    (f, parameters, { begin, end }) => {
      const p = parameters as readonly Local<"i32">[];
      const at = (i: number) => p[i] ?? begin;
      const names = partNames.filter((name) => partTypes(layout)[name]);
      const last = 3 + names.length;
      const job: ProductJob = {
        f,
        features,
        layout,
        records: at(0),
        room: f.let(i32.add(at(1), i32.shl(begin, 6))),
        y: at(2),
        parts: Object.fromEntries(names.map((name, i) => [name, at(3 + i)])),
        numBlocks: at(last),
        numGroups: at(last + 1),
        numSupers: at(last + 2),
        blocksPerGroup: at(last + 3),
        outFeatures: at(last + 6),
        isRagged,
      };
      f.for(begin, end, 1, (unit) => {
        const panel = f.let(i32.mul(unit, panels));
        if (panels === 1) return multiplyRows(job, panel, { tiles, numRows: at(last + 5) });
        const hasBoth = i32.ltU(i32.add(panel, 1), at(last + 4));
        const row = f.let(i32.const(0));
        f.if(
          hasBoth,
          () => multiplyTile(job, panel, { row, rows: 1, panels: 2 }),
          () => multiplyTile(job, panel, { row, rows: 1, panels: 1 }),
        );
      });
    },
  );
}

interface ProductJob {
  readonly f: FunctionBuilder;
  readonly features: CpuFeatures;
  readonly layout: QuantLayout;
  readonly records: Local<"i32">;
  /** 64 bytes of this call of `run`, for the last panel of a ragged weight. */
  readonly room: Local<"i32">;
  readonly y: Local<"i32">;
  readonly parts: Partial<Record<PartName, Local<"i32">>>;
  readonly numBlocks: Local<"i32">;
  readonly numGroups: Local<"i32">;
  readonly numSupers: Local<"i32">;
  readonly blocksPerGroup: Local<"i32">;
  readonly outFeatures: Local<"i32">;
  readonly isRagged: boolean;
}

interface PlacedTile extends Tile {
  /** First row of activations. */
  readonly row: Local<"i32">;
}

/** One panel against every row: whole tiles, then what is left. */
function multiplyRows(
  job: ProductJob,
  panel: Local<"i32">,
  { tiles, numRows }: { readonly tiles: readonly Tile[]; readonly numRows: Local<"i32"> },
): void {
  const { f } = job;
  const row = f.let(i32.const(0));
  for (const tile of tiles) {
    if (tile.rows === MAX_TILE_ROWS) {
      const multiply = () => multiplyTile(job, panel, { ...tile, row });
      f.advance(row, i32.sub(numRows, MAX_TILE_ROWS - 1), MAX_TILE_ROWS, multiply);
    } else multiplyTile(job, panel, { ...tile, row });
  }
}

/** Addresses that move along one panel. */
interface PanelPointers {
  readonly codes: Local<"i32">;
  readonly scales: GroupScales;
  readonly mins: GroupScales | undefined;
}

function panelPointers(
  { f, layout, parts, numBlocks, numGroups, numSupers }: ProductJob,
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

/** Some panels against some rows: 16 x panels x rows results. */
function multiplyTile(job: ProductJob, panel: Local<"i32">, tile: PlacedTile): void {
  const { f, layout, features, numBlocks } = job;
  const bytes = recordBytes(activationBits(layout));
  const panels = Array.from({ length: tile.panels }, (_, i) =>
    panelPointers(job, i === 0 ? panel : f.let(i32.add(panel, i))),
  );
  const rows = Array.from({ length: tile.rows }, (_, m) =>
    f.let(i32.add(job.records, i32.mul(i32.mul(i32.add(tile.row, m), numBlocks), bytes))),
  );
  const totals = rows.map(() => Array.from({ length: PANEL_VECTORS * tile.panels }, () => f.local("v128")));
  for (const total of totals.flat()) f.set(total, f32x4.splat(0));
  const codes = panels.map((pointers) => pointers.codes);
  const dots: DotJob = { f, hasRelaxed: features.relaxedSimd, format: layout, codes, rows };
  const inGroup = layout.groupSize > 32 ? f.let(i32.const(0)) : undefined;
  f.for(0, numBlocks, 1, (block) => {
    for (const half of layout.groupSize === 16 ? ([0, 1] as const) : (["both"] as const)) {
      addGroup(job, { dots, half, totals, panels });
      if (half !== "both") nextGroup(job, panels);
    }
    for (const address of codes) f.increase(address, blockBytes(layout));
    for (const row of rows) f.increase(row, bytes);
    if (layout.groupSize === 32) nextGroup(job, panels);
    if (inGroup !== undefined) {
      f.increase(inGroup, 1);
      f.if(i32.eq(inGroup, job.blocksPerGroup), () => {
        f.set(inGroup, 0);
        nextGroup(job, panels);
      });
    }
    if (isNested(layout)) f.if(i32.eq(i32.and(block, 7), 7), () => nextSuper(job, panels));
  });
  storeTile(job, panel, { tile, totals });
}

function nextGroup({ f, layout }: ProductJob, panels: readonly PanelPointers[]): void {
  for (const { scales, mins } of panels)
    for (const group of [scales, mins]) if (group) f.increase(group.own, entriesBytes(layout));
}

function nextSuper({ f }: ProductJob, panels: readonly PanelPointers[]): void {
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
function addGroup({ f, layout }: ProductJob, { dots, half, totals, panels }: Group): void {
  // Not fused, so that every engine gives the same bits.
  const madd = (x: Local<"v128">, y: Local<"v128">, z: Local<"v128">) => f32x4.add(f32x4.mul(x, y), z);
  const sums = blockDots(dots, half);
  const scaleOf = panels.flatMap(({ scales }) => scaleVectors(f, layout, scales));
  const minOf = panels.flatMap(({ mins }) => (mins ? scaleVectors(f, layout, mins) : []));
  const isWhole = half === "both";
  for (const [m, row] of dots.rows.entries()) {
    const scale = f.let(v128.load32Splat(row, record.scale));
    const sumOfCodes = () => i32.load(row, isWhole ? record.sum : record.sums[half]);
    const shift = layout.offset === 0 ? undefined : f.let(i32x4.splat(i32.mul(sumOfCodes(), -layout.offset)));
    const scaledSum = layout.hasMin
      ? f.let(v128.load32Splat(row, isWhole ? record.scaledSum : record.scaledSums[half]))
      : undefined;
    for (const [v, sum] of sums[m]?.entries() ?? []) {
      const [total, own, min] = [totals[m]?.[v], scaleOf[v], minOf[v]];
      if (total === undefined || own === undefined) continue;
      const whole = f.let(f32x4.convertI32x4S(shift === undefined ? sum : i32x4.add(sum, shift)));
      f.set(total, madd(whole, f.let(f32x4.mul(own, scale)), total));
      if (min !== undefined && scaledSum !== undefined) f.set(total, madd(min, scaledSum, total));
    }
  }
}

function storeTile(
  { f, y, outFeatures, isRagged, room }: ProductJob,
  panel: Local<"i32">,
  { tile, totals }: { readonly tile: PlacedTile; readonly totals: readonly (readonly Local<"v128">[])[] },
): void {
  for (const [m, line] of totals.entries()) {
    for (let i = 0; i < tile.panels; i++) {
      const column = f.let(i32.shl(i32.add(panel, i), 4));
      const index = i32.add(i32.mul(i32.add(tile.row, m), outFeatures), column);
      const target = f.let(i32.add(y, i32.shl(index, 2)));
      const vectors = line.slice(i * PANEL_VECTORS, (i + 1) * PANEL_VECTORS);
      const store = (to: Local<"i32">) => {
        for (const [v, total] of vectors.entries()) f.store("v128", to, total, 16 * v);
      };
      if (!isRagged) {
        store(target);
        continue;
      }
      const left = f.let(i32.sub(outFeatures, column));
      const storePart = () => {
        store(room);
        f.copyMemory(target, room, i32.shl(left, 2));
      };
      f.if(i32.geS(left, PANEL_ROWS), () => store(target), storePart);
    }
  }
}
