import {
  argument,
  type CpuFeatures,
  type FunctionBuilder,
  f32x4,
  i32,
  i32x4,
  type KernelStep,
  kernelStep,
  type Local,
  v128,
  type WasmKernelFactory,
} from "@heddle/tensor/kernel";
import {
  blockBytes,
  isNested,
  PANEL_ROWS,
  panelCounts,
  partNames,
  partTypes,
  type QuantLayout,
} from "../quant-format.js";
import { formatKey, panelArguments } from "./panel-arguments.js";
import { blockDots, PANEL_VECTORS } from "./panel-dots.js";
import { entriesBytes, entryAddress, type GroupScales, scaleVectors } from "./panel-scales.js";
import { activationBytes, quantizeStep, record, recordBytes } from "./quantize-activations.js";

/** Rows of activations that the inner loop keeps in registers. */
const TILE_ROWS = 4;
/** A thread of its own is worth it from about this many multiplications, which take a few microseconds. */
const GRAIN_PRODUCTS = 100_000;

/**
 * y = x W^T over the panels of a quantised weight: x is rounded to int8 in blocks of 32, products are whole numbers, scales
 * are applied once a group in f32. The result depends on neither the number of rows nor that of threads.
 *
 * Buffers: x [rows, in] f32, the weight's tensors, y [rows, out]. Each panel is read once for all rows.
 */
export const quantLinearWasm: WasmKernelFactory<QuantLayout> = ({ inputs, params: layout }, features) => {
  const [x] = inputs;
  if (x?.dtype !== "f32") return undefined;
  const { inFeatures, outFeatures } = layout;
  const rows = x.shape.slice(0, -1).reduce((product, extent) => product * extent, 1);
  if (rows === 0 || outFeatures === 0 || inFeatures === 0) return undefined;
  const bits = layout.codeBits === 8 ? 16 : 8;
  const shape = { rows, columns: inFeatures, bits } as const;
  const spare = activationBytes(shape);
  return {
    steps: [
      quantizeStep(shape, { x: argument.buffer(0), target: 0 }, features),
      productStep(layout, { rows, spare, buffers: inputs.length + 1 }, features),
    ],
    scratchBytes: spare + (outFeatures % PANEL_ROWS === 0 ? 0 : panelCounts(layout).numPanels * 64),
  };
};

function productStep(
  layout: QuantLayout,
  { rows, spare, buffers }: { readonly rows: number; readonly spare: number; readonly buffers: number },
  features: CpuFeatures,
): KernelStep {
  const { numPanels, numBlocks } = panelCounts(layout);
  const { outFeatures } = layout;
  const tiles = [...(rows >= TILE_ROWS ? [TILE_ROWS] : []), ...(rows % TILE_ROWS ? [rows % TILE_ROWS] : [])];
  const isRagged = outFeatures % PANEL_ROWS !== 0;
  return kernelStep(
    {
      key: `quant-product:${formatKey(layout)}:${tiles}${isRagged ? ":ragged" : ""}`,
      features,
      args: [
        argument.scratch(0),
        argument.scratch(spare),
        ...Array.from({ length: buffers - 1 }, (_, i) => argument.buffer(i + 1)),
        ...panelArguments(layout),
        argument.i32(rows),
        argument.i32(outFeatures),
      ],
      units: numPanels,
      grain: GRAIN_PRODUCTS / (rows * numBlocks * 512),
    },
    (f, parameters, { begin, end }) => {
      const p = parameters as readonly Local<"i32">[];
      const at = (i: number) => p[i] ?? begin;
      const last = 2 + buffers - 1;
      const job: ProductJob = {
        f,
        features,
        layout,
        records: at(0),
        room: f.let(i32.add(at(1), i32.shl(begin, 6))),
        parts: Array.from({ length: buffers - 2 }, (_, i) => at(2 + i)),
        y: at(last - 1),
        numBlocks: at(last),
        numGroups: at(last + 1),
        numSupers: at(last + 2),
        blocksPerGroup: at(last + 3),
        numRows: at(last + 4),
        outFeatures: at(last + 5),
        isRagged,
      };
      f.for(begin, end, 1, (panel) => {
        const row = f.let(i32.const(0));
        if (rows >= TILE_ROWS)
          f.advance(row, i32.sub(job.numRows, TILE_ROWS - 1), TILE_ROWS, () =>
            multiplyTile(job, panel, { row, height: TILE_ROWS }),
          );
        if (rows % TILE_ROWS) multiplyTile(job, panel, { row, height: rows % TILE_ROWS });
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
  readonly parts: readonly Local<"i32">[];
  readonly y: Local<"i32">;
  readonly numBlocks: Local<"i32">;
  readonly numGroups: Local<"i32">;
  readonly numSupers: Local<"i32">;
  readonly blocksPerGroup: Local<"i32">;
  readonly numRows: Local<"i32">;
  readonly outFeatures: Local<"i32">;
  readonly isRagged: boolean;
}

interface RowTile {
  readonly row: Local<"i32">;
  readonly height: number;
}

/** One panel against `height` rows: 16 x height results. */
function multiplyTile(job: ProductJob, panel: Local<"i32">, tile: RowTile): void {
  const { f, layout, features, numBlocks, numGroups, numSupers } = job;
  const types = partTypes(layout);
  const part = (name: (typeof partNames)[number]) =>
    job.parts[partNames.filter((candidate) => types[candidate]).indexOf(name)] ?? panel;
  const codes = f.let(entryAddress(part("codes"), i32.mul(panel, numBlocks), blockBytes(layout)));
  const entries = (
    name: "scales" | "mins" | "superScales" | "superMins",
    count: Local<"i32">,
    bytes: number,
  ) =>
    types[name] === undefined ? undefined : f.let(entryAddress(part(name), i32.mul(panel, count), bytes));
  const ownBytes = entriesBytes(layout);
  const pointers = {
    scales: entries("scales", numGroups, ownBytes),
    mins: entries("mins", numGroups, ownBytes),
    superScales: entries("superScales", numSupers, 64),
    superMins: entries("superMins", numSupers, 64),
  };
  const rows = Array.from({ length: tile.height }, (_, m) =>
    f.let(
      i32.add(
        job.records,
        i32.mul(i32.mul(i32.add(tile.row, m), numBlocks), recordBytes(activationBits(layout))),
      ),
    ),
  );
  const totals = rows.map(() => Array.from({ length: PANEL_VECTORS }, () => f.local("v128")));
  for (const total of totals.flat()) f.set(total, f32x4.splat(0));
  const dots = { f, hasRelaxed: features.relaxedSimd, format: layout, codes, rows };
  const groups = (name: "scales" | "mins"): GroupScales | undefined => {
    const own = pointers[name];
    return own && { own, above: pointers[name === "scales" ? "superScales" : "superMins"] };
  };
  const advance = (pointer: Local<"i32"> | undefined, bytes: number) => pointer && f.increase(pointer, bytes);
  const inGroup = f.let(i32.const(0));
  f.for(0, numBlocks, 1, (block) => {
    const halves = layout.groupSize === 16 ? ([0, 1] as const) : (["both"] as const);
    for (const half of halves) {
      addGroup(job, { dots, half, totals, scales: groups("scales"), mins: groups("mins") });
      if (half === "both") continue;
      advance(pointers.scales, ownBytes);
      advance(pointers.mins, ownBytes);
    }
    f.increase(codes, blockBytes(layout));
    for (const row of rows) f.increase(row, recordBytes(activationBits(layout)));
    if (layout.groupSize !== 16) {
      f.increase(inGroup, 1);
      f.if(i32.eq(inGroup, job.blocksPerGroup), () => {
        f.set(inGroup, 0);
        advance(pointers.scales, ownBytes);
        advance(pointers.mins, ownBytes);
      });
    }
    if (!isNested(layout)) return;
    f.if(i32.eq(i32.and(block, 7), 7), () => {
      advance(pointers.superScales, 64);
      advance(pointers.superMins, 64);
    });
  });
  storeTile(job, panel, { tile, totals });
}

const activationBits = ({ codeBits }: QuantLayout) => (codeBits === 8 ? 16 : 8);

interface Group {
  readonly dots: Parameters<typeof blockDots>[0];
  readonly half: 0 | 1 | "both";
  readonly totals: readonly (readonly Local<"v128">[])[];
  readonly scales: GroupScales | undefined;
  readonly mins: GroupScales | undefined;
}

/** totals += (dots - offset sum(x)) scale(x) scale(w) + min(w) scale(x) sum(x), over one block or half of one. */
function addGroup({ f, layout }: ProductJob, { dots, half, totals, scales, mins }: Group): void {
  if (scales === undefined) return;
  // Not fused, so that every engine gives the same bits.
  const madd = (x: Local<"v128">, y: Local<"v128">, z: Local<"v128">) => f32x4.add(f32x4.mul(x, y), z);
  const sums = blockDots(dots, half);
  const scaleOf = scaleVectors(f, layout, scales);
  const minOf = mins && scaleVectors(f, layout, mins);
  for (const [m, row] of dots.rows.entries()) {
    const scale = f.let(v128.load32Splat(row, record.scale));
    const shift =
      layout.offset === 0
        ? undefined
        : f.let(
            i32x4.splat(
              i32.mul(i32.load(row, half === "both" ? record.sum : record.sums[half]), -layout.offset),
            ),
          );
    const scaledSum =
      minOf && f.let(v128.load32Splat(row, half === "both" ? record.scaledSum : record.scaledSums[half]));
    for (let v = 0; v < PANEL_VECTORS; v++) {
      const [sum, total, own] = [sums[m]?.[v], totals[m]?.[v], scaleOf[v]];
      if (sum === undefined || total === undefined || own === undefined) continue;
      const whole = f.let(f32x4.convertI32x4S(shift === undefined ? sum : i32x4.add(sum, shift)));
      f.set(total, madd(whole, f.let(f32x4.mul(own, scale)), total));
      const min = minOf?.[v];
      if (min !== undefined && scaledSum !== undefined) f.set(total, madd(min, scaledSum, total));
    }
  }
}

function storeTile(
  { f, y, outFeatures, isRagged, room }: ProductJob,
  panel: Local<"i32">,
  { tile, totals }: { readonly tile: RowTile; readonly totals: readonly (readonly Local<"v128">[])[] },
): void {
  const column = f.let(i32.shl(panel, 4));
  for (const [m, line] of totals.entries()) {
    const index = i32.add(i32.mul(i32.add(tile.row, m), outFeatures), column);
    const target = f.let(i32.add(y, i32.shl(index, 2)));
    const store = (to: Local<"i32">) => {
      for (const [v, total] of line.entries()) f.store("v128", to, total, 16 * v);
    };
    if (!isRagged) {
      store(target);
      continue;
    }
    const left = f.let(i32.sub(outFeatures, column));
    f.if(
      i32.geS(left, PANEL_ROWS),
      () => store(target),
      () => {
        store(room);
        f.copyMemory(target, room, i32.shl(left, 2));
      },
    );
  }
}
