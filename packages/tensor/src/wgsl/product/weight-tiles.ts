import { type TileSource, type Tiling, threadsOf, tileMemory } from "../kernels/matrix-tiles.js";
import { each } from "../kernels/team.js";
import { type ElementLanes, elementType } from "../matrix-unit.js";
import { type BufferUse, bufferAt } from "../step.js";

/** Weights [rows, K] of halves whose outputs lie side by side in one launch. */
export interface WeightRange {
  /** Buffer of the launch for each slot. */
  readonly weights: readonly number[];
  /** Outputs of each weight. */
  readonly rows: number;
  /** Row of the weight for column `c` of the range, as an expression (u32); beyond the end it may be anything. */
  row(slot: number, c: string): string;
}

/**
 * The right operand of several products of one x: a workgroup's columns belong to one range (`range`, from `columnStart` on), whose
 * weight it reads where it lies. A part of the tile holds the columns of all slots side by side. Undefined where a load of all threads
 * would reach into two slots.
 */
export function weightTiles(
  ranges: readonly WeightRange[],
  { tiling, K, lanes }: { readonly tiling: Tiling; readonly K: number; readonly lanes: ElementLanes },
): TileSource | undefined {
  const { columns, depth, padding, partColumns } = tiling;
  const memory = tileMemory({ edge: columns, depth, padding }, { isDenseK: true, lanes });
  const threads = threadsOf(tiling);
  const rowLoads = depth / lanes;
  const loads = (columns * rowLoads) / threads;
  const rowsPerLoad = threads / rowLoads;
  const share = partColumns / (ranges[0]?.weights.length ?? 1);
  if (share % rowsPerLoad !== 0 || !Number.isInteger(loads)) return undefined;
  const bound = [...new Set(ranges.flatMap(({ weights }) => weights))];
  const nameOf = (index: number) => `w${bound.indexOf(index)}`;
  const slotOf = (i: number) => Math.floor(((i * rowsPerLoad) % partColumns) / share);
  const tileRow = (i: number) => `thread / ${rowLoads}u + ${i * rowsPerLoad}u`;
  const inner = `thread % ${rowLoads}u`;
  const column = (i: number) =>
    share === partColumns
      ? `columnStart + ${tileRow(i)}`
      : `columnStart + (${tileRow(i)}) / ${partColumns}u * ${share}u + (${tileRow(i)}) % ${share}u`;
  const place = (range: WeightRange, i: number) =>
    `    { let c = ${column(i)}; bAt${i} = min(${range.row(slotOf(i), "c")}, ${range.rows - 1}u) * P.bRow + ${inner}; }`;
  return {
    memory,
    buffers: bound.map((index): BufferUse => {
      const memory = bufferAt(index);
      return { name: nameOf(index), memory, dtype: "f16", access: "read", element: elementType[lanes] };
    }),
    params: { bRow: K / lanes },
    setup: `${each(loads, (i) => `  var b${i}: ${elementType[lanes]};\n  var bAt${i}: u32;`)}
${byRange(ranges, (range) => each(loads, (i) => place(range, i)))}`,
    fetch: (k) => {
      const load = (range: WeightRange) =>
        each(loads, (i) => `        b${i} = ${nameOf(range.weights[slotOf(i)] ?? -1)}[bAt${i} + step];`);
      const isWhole = K % depth === 0;
      const zero = each(loads, (i) => `        b${i} = ${elementType[lanes]}();`);
      return `      { let step = (${k}) / ${lanes}u;
${isWhole ? "" : `      if (${k} + (${inner}) * ${lanes}u < P.K) {`}
${byRange(ranges, load)}
${isWhole ? "" : `      } else {\n${zero}\n      }`}
      }`;
    },
    keep: (base) =>
      each(loads, (i) => `    tiles[${base} + (${tileRow(i)}) * ${memory.stride}u + ${inner}] = b${i};`),
  };
}

/** Statements for the range of the workgroup, which is the same for all of its threads. */
export function byRange<Range>(
  ranges: readonly Range[],
  code: (range: Range, index: number) => string,
): string {
  const [first] = ranges;
  if (ranges.length === 1 && first !== undefined) return code(first, 0);
  return ranges
    .map((range, i) => {
      const isLast = i === ranges.length - 1;
      return `${i === 0 ? "      " : " else "}${isLast ? "" : `if (range == ${i}u) `}{\n${code(range, i)}\n      }`;
    })
    .join("");
}
