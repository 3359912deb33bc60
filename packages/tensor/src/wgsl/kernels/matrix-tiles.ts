import type { WgslFeatures, WgslStep } from "../kernel.js";
import {
  type ElementLanes,
  elementType,
  hardwareMatrices,
  type MatrixUnit,
  matrixEdge,
  subgroupSize,
} from "../matrix-unit.js";
import { type BufferUse, type StepParam, wgslStep } from "../step.js";
import { each } from "./team.js";
import { tilePlace } from "./tile-place.js";

/** How a workgroup's outputs are shared out, in elements. Subgroups of 32 threads compute a part each. */
export interface Tiling {
  /** Outputs of a workgroup. */
  readonly rows: number;
  readonly columns: number;
  /** Inner slice of a step. */
  readonly depth: number;
  /** Outputs of a subgroup. */
  readonly partRows: number;
  readonly partColumns: number;
  /** Halves between rows of workgroup memory, so that rows fall on different banks. */
  readonly padding: number;
  /** Tiles of M that neighbouring workgroups go through before the next tile of N, so that operands stay in cache. */
  readonly band: number;
}

export const threadsOf = ({ rows, columns, partRows, partColumns }: Tiling): number =>
  (rows / partRows) * (columns / partColumns) * subgroupSize;

/** Where half floats of an operand's slice lie in workgroup memory: rows of `stride` elements of `lanes` halves. */
export interface TileMemory {
  /** Rows go along the edge (M or N) and elements along K, or the other way around. */
  readonly isDenseK: boolean;
  readonly lanes: ElementLanes;
  readonly rows: number;
  readonly stride: number;
}

/** Lays out an operand's slice. */
export function tileMemory(
  { edge, depth, padding }: { readonly edge: number; readonly depth: number; readonly padding: number },
  { isDenseK, lanes }: Pick<TileMemory, "isDenseK" | "lanes">,
): TileMemory {
  const [rows, length] = isDenseK ? [edge, depth] : [depth, edge];
  return { isDenseK, lanes, rows, stride: (length + padding) / lanes };
}

/** The code that brings one operand from memory through registers to workgroup memory. */
export interface TileSource {
  readonly memory: TileMemory;
  readonly buffers: readonly BufferUse[];
  readonly params: Readonly<Record<string, StepParam>>;
  readonly declarations?: string;
  /** Statements before the first slice: addresses and registers. */
  readonly setup: string;
  /** Statements that read the slice at inner index `k` into registers. */
  fetch(k: string): string;
  /** Statements that write them to `tiles`, from element `base` on. */
  keep(base: string): string;
}

/**
 * What a workgroup does with 16 rows of a part: statements that store `perStore` sums, given by `sum(i)`, at row m, column n.
 *
 * With a `stack` of 2 a part holds two products of the same columns side by side, as gate and up: `sum(i, slot)` is one of them.
 */
export interface TileTarget {
  readonly buffers: readonly BufferUse[];
  readonly perStore: number;
  readonly stack?: number;
  store(at: { readonly m: string; readonly n: string }, sum: (i: number, slot?: number) => string): string;
}

export interface TileProduct {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  /** Products of one launch. */
  readonly count: number;
  readonly unit: MatrixUnit;
  readonly tiling: Tiling;
  readonly left: TileSource;
  readonly right: TileSource;
  readonly target: TileTarget;
  readonly params?: Readonly<Record<string, StepParam>>;
  readonly tables?: Readonly<Record<string, Uint32Array>>;
  /** Functions at module scope. */
  readonly declarations?: string;
  /** Statements that find where the operands of product `batch` begin. */
  readonly setup?: string;
  /** Expressions (u32): the first column of the workgroup's tile, and the end of those that are stored; default bStart and N. */
  readonly columns?: { readonly start: string; readonly end: string };
}

/** What multiplies 16 x 16 halves into f32 sums in subgroups of 32; undefined where the adapter has no such products. */
export function matrixUnitOf({
  f16,
  subgroups,
  subgroupMatrices,
  maxWorkgroupBytes,
  matrixUnit,
}: WgslFeatures): MatrixUnit | undefined {
  if (matrixUnit !== undefined) return matrixUnit;
  const fits =
    f16 &&
    subgroups?.min === subgroupSize &&
    subgroups.max === subgroupSize &&
    maxWorkgroupBytes >= 48 * 1024 &&
    subgroupMatrices.some(
      (shape) =>
        shape.component === "f16" &&
        shape.result === "f32" &&
        [shape.M, shape.N, shape.K].every((n) => n === matrixEdge),
    );
  return fits ? hardwareMatrices : undefined;
}

/**
 * A product on the hardware's matrix units: slices of both operands in workgroup memory, the next slice on its way while one
 * is multiplied. Every 16 x 16 matrix is a variable of its own: arrays of matrices are slow.
 */
export function tileProductStep(product: TileProduct): WgslStep {
  const { M, N, K, count, tiling, left, right, target, unit } = product;
  const { columns, depth, partRows, partColumns } = tiling;
  const place = tilePlace({ M, N, count }, tiling);
  const [high, wide] = [partRows / matrixEdge, partColumns / matrixEdge];
  const threads = threadsOf(tiling);
  const { lanes } = left.memory;
  const sizeOf = ({ memory }: TileSource) => memory.rows * memory.stride;
  const sizes = [sizeOf(left), sizeOf(right)] as const;
  // Sums leave through the same memory.
  const strip = ((threads / subgroupSize) * matrixEdge * partColumns) / (lanes / 2);
  const elements = Math.max(strip, sizes[0] + sizes[1]);
  return wgslStep({
    buffers: [...left.buffers, ...right.buffers, ...target.buffers],
    params: { M, N, K, ...place.params, ...left.params, ...right.params, ...product.params },
    tables: product.tables ?? {},
    threads,
    groups: place.groups,
    enable: unit.directives,
    declarations: [
      `var<workgroup> tiles: array<${elementType[lanes]}, ${elements}>;`,
      unit.declarations(lanes),
      left.declarations ?? "",
      right.declarations ?? "",
      product.declarations ?? "",
    ].join("\n"),
    body: `${place.code}
${product.setup ?? ""}
${unit.begin}
  let partA = (subgroup / ${columns / partColumns}u) * ${partRows}u;
  let partB = (subgroup % ${columns / partColumns}u) * ${partColumns}u;
${each(high * wide, (i) => `  var sum${Math.floor(i / wide)}_${i % wide}: Sum;`)}
${left.setup}
${right.setup}
${left.fetch("0u")}
${right.fetch("0u")}
  for (var k0 = 0u; k0 < P.K; k0 += ${depth}u) {
${left.keep("0u")}
${right.keep(`${sizes[0]}u`)}
    workgroupBarrier();
    let next = k0 + ${depth}u;
    if (next < P.K) {
${left.fetch("next")}
${right.fetch("next")}
    }
${each(depth / matrixEdge, (slice) => multiply(tiling, { left, right, unit, k: slice * matrixEdge, rightStart: sizes[0] }))}
    workgroupBarrier();
  }
${each(high, (i) => storeStrip(i, { product, wide }))}`,
  });
}

interface Slice {
  readonly left: TileSource;
  readonly right: TileSource;
  readonly unit: MatrixUnit;
  readonly k: number;
  /** Element of workgroup memory where the right operand begins. */
  readonly rightStart: number;
}

/** The products of 16 x 16 matrices over one slice of 16 of the inner axis. */
function multiply({ partRows, partColumns }: Tiling, { left, right, unit, k, rightStart }: Slice): string {
  const [high, wide] = [partRows / matrixEdge, partColumns / matrixEdge];
  const place = ({ memory }: TileSource, base: string, i: number) => {
    const { isDenseK, lanes, stride } = memory;
    return isDenseK
      ? `(${base} + ${i * matrixEdge}u) * ${stride}u + ${k / lanes}u`
      : `${k * stride}u + (${base} + ${i * matrixEdge}u) / ${lanes}u`;
  };
  const loadLeft = (i: number) => {
    const { isDenseK, stride } = left.memory;
    const from = { at: place(left, "partA", i), stride: `${stride}u` };
    return `let left${i} = ${unit.load("Left", isDenseK ? "row" : "col", from)};`;
  };
  const loadRight = (j: number) => {
    const { isDenseK, stride } = right.memory;
    const from = { at: `${rightStart}u + ${place(right, "partB", j)}`, stride: `${stride}u` };
    return `let right${j} = ${unit.load("Right", isDenseK ? "col" : "row", from)};`;
  };
  const product = (i: number, j: number) => {
    const sum = `sum${i}_${j}`;
    return `${sum} = ${unit.multiplyAdd(`left${i}`, `right${j}`, sum)};`;
  };
  return `    {
${each(high, (i) => `      ${loadLeft(i)}`)}
${each(wide, (j) => `      ${loadRight(j)}`)}
${each(high * wide, (n) => `      ${product(Math.floor(n / wide), n % wide)}`)}
    }`;
}

/** Hands 16 rows of every subgroup's outputs to the target, through workgroup memory. */
function storeStrip(
  i: number,
  { product, wide }: { readonly product: TileProduct; readonly wide: number },
): string {
  const { tiling, target, unit, left, columns = { start: "bStart", end: "P.N" } } = product;
  const { partColumns } = tiling;
  const { perStore, stack = 1 } = target;
  const share = partColumns / stack;
  // Sums are words, of which an element of workgroup memory holds a few.
  const words = left.memory.lanes / 2;
  const sum = (lane: number, slot = 0) => {
    const from =
      stack === 1 ? "at" : `(at / ${share}u * ${partColumns}u + ${slot * share}u + at % ${share}u)`;
    if (words === 1) return `bitcast<f32>(tiles[base + ${from} + ${lane}u])`;
    if (perStore < words)
      return `bitcast<f32>(tiles[base + ${from} / ${words}u][${from} % ${words}u + ${lane}u])`;
    return `bitcast<f32>(tiles[base + ${from} / ${words}u + ${Math.floor(lane / words)}u].${"xyzw"[lane % words]})`;
  };
  return `  {
    let base = subgroup * ${(matrixEdge * partColumns) / words}u;
${each(wide, (j) => `    ${unit.store(`sum${i}_${j}`, { at: `base + ${(j * matrixEdge) / words}u`, stride: `${partColumns / words}u` })}`)}
    workgroupBarrier();
    for (var at = (thread % ${subgroupSize}u) * ${perStore}u; at < ${matrixEdge * share}u; at += ${subgroupSize * perStore}u) {
      let m = aStart + partA + ${i * matrixEdge}u + at / ${share}u;
      let n = ${columns.start} + partB${stack === 1 ? "" : ` / ${stack}u`} + at % ${share}u;
      if (m < P.M && n < ${columns.end}) {
        ${target.store({ m: "m", n: "n" }, sum)}
      }
    }
    workgroupBarrier();
  }`;
}
