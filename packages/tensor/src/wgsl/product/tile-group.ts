import type { PartTarget, ProductPart } from "../../compile/product-group.js";
import { sizeOf } from "../../shape.js";
import type { WgslFeatures, WgslKernel } from "../kernel.js";
import { denseSource } from "../kernels/dense-tiles.js";
import { denseTiling } from "../kernels/matmul-subgroups.js";
import { matrixUnitOf, type Tiling, tileProductStep } from "../kernels/matrix-tiles.js";
import type { GroupCall } from "./group-step.js";
import { GroupText, pieceOf, rowsOf } from "./group-text.js";
import type { RotationPiece, TilePiece } from "./piece.js";
import { type PartShape, TilePlacer } from "./tile-place-values.js";
import { byRange, type WeightRange, weightTiles } from "./weight-tiles.js";

/** A part with what its ops offer. */
interface TilePart {
  readonly part: ProductPart;
  readonly piece: TilePiece;
  readonly rotation: RotationPiece | undefined;
}

/**
 * One dispatch on matrix units for products of many rows that share x: tiles choose their weight by their columns, and finish their
 * outputs (elementwise work, rotation, order of heads) while they are in workgroup memory. Two products of one part (gate and up), or both
 * halves of rotated heads, lie side by side in every subgroup's part of a tile. Undefined where a member does not fit. Twin: the ops
 * one after another.
 */
export function tileGroupWgsl(call: GroupCall, features: WgslFeatures): WgslKernel | undefined {
  const { group } = call;
  const unit = matrixUnitOf(features);
  const parts = unit && group.norm === undefined ? partsOf(group.parts, features) : undefined;
  const [first] = parts ?? [];
  if (unit === undefined || parts === undefined || first === undefined) return undefined;
  const { M, K } = first.piece;
  if (rowsOf(group) !== M || parts.some(({ piece }) => piece.M !== M || piece.K !== K)) return undefined;
  const isStacked = parts.some(
    ({ part, rotation }) => part.products.length > 1 || rotation?.layout === "half",
  );
  const stack = isStacked ? 2 : 1;
  const lanes = ([8, 4] as const).find((n) => K % n === 0) ?? 2;
  const outputs = parts.reduce((sum, { piece, part }) => sum + piece.N * part.products.length, 0);
  const tiling = denseTiling({ M, N: outputs }, { lanes, stack });
  const shapes = parts.map((part) => shapeOf(part, { tiling, stack }));
  const perStore = ([8, 4, 2] as const).find((n) =>
    shapes.every(({ N, run, order }) => N % n === 0 && run % n === 0 && (order?.width ?? n) % n === 0),
  );
  if (perStore === undefined) return undefined;
  const text = new GroupText();
  const placer = new TilePlacer({ call, M, perStore, text });
  const placed = parts.map(({ part, rotation }, i) => {
    const shape = shapes[i];
    return shape && placer.place(part, { rotation, shape, at: i });
  });
  if (placed.includes(undefined)) return undefined;
  const right = weightTiles(weightRanges(parts, shapes), { tiling, K, lanes });
  if (right === undefined) return undefined;
  const index = group.parts[0]?.products[0]?.inputs[0] ?? -1;
  const left = denseSource(
    { name: "a", index, dtype: "f16", isDenseK: true, edge: M, K, from: "0u", lanes },
    tiling,
  );
  const columns = tiling.columns / stack;
  const starts = shapes.map((_, i) =>
    shapes.slice(0, i).reduce((sum, { end }) => sum + Math.ceil(end / columns), 0),
  );
  const tiles = shapes.reduce((sum, { end }) => sum + Math.ceil(end / columns), 0);
  if (right.buffers.length + 1 + text.buffers.length > features.maxBuffers) return undefined;
  const step = tileProductStep({
    M,
    N: tiles * tiling.columns,
    K,
    count: 1,
    unit,
    tiling,
    left,
    right,
    params: { ...text.params },
    tables: text.tables,
    columns: { start: "columnStart", end: "columnEnd" },
    setup: rangeCode({ starts, ends: shapes.map(({ end }) => end), tiling, columns }),
    declarations: [...text.functions.values()].join("\n"),
    target: {
      buffers: text.buffers,
      perStore,
      stack,
      store: ({ m, n }, sum) => {
        const sums = Array.from({ length: perStore * stack }, (_, i) =>
          sum(i % perStore, Math.floor(i / perStore)),
        );
        return byRange(placed, (name) => `        ${name}(${m}, ${n}, ${sums.join(", ")});`);
      },
    },
  });
  return { steps: [step] };
}

/** The weights of the parts: one for each slot, of which some may be one and the same. */
function weightRanges(parts: readonly TilePart[], shapes: readonly PartShape[]): WeightRange[] {
  return shapes.map(({ stack, N, row }, i) => ({
    weights: Array.from({ length: stack }, (_, slot) => {
      const products = parts[i]?.part.products ?? [];
      return (products[slot] ?? products[0])?.inputs[1] ?? -1;
    }),
    rows: N,
    row,
  }));
}

/** Statements that name the range of a workgroup's tile, its first column there, and the range's end. */
function rangeCode({
  starts,
  ends,
  tiling,
  columns,
}: {
  readonly starts: readonly number[];
  readonly ends: readonly number[];
  readonly tiling: Tiling;
  readonly columns: number;
}): string {
  const choices = starts
    .slice(1)
    .map(
      (start, i) =>
        `  if (tileOf >= ${start}u) { range = ${i + 1}u; firstOf = ${start}u; columnEnd = ${ends[i + 1]}u; }`,
    );
  return `  let tileOf = bStart / ${tiling.columns}u;
  var range = 0u;
  var firstOf = 0u;
  var columnEnd = ${ends[0]}u;
${choices.join("\n")}
  let columnStart = (tileOf - firstOf) * ${columns}u;`;
}

/** What the ops of the parts offer; undefined where one has nothing for tiles. */
function partsOf(parts: readonly ProductPart[], features: WgslFeatures): TilePart[] | undefined {
  const found: TilePart[] = [];
  for (const part of parts) {
    const pieces = part.products.map((product) => pieceOf(product, "tiles", features));
    const [piece] = pieces;
    const isAlike = pieces.every((other) => other !== undefined && other.N === piece?.N);
    if (piece === undefined || !isAlike || pieces.length > 2) return undefined;
    if (pieces.length > 1 && (part.expression === undefined || part.order !== undefined)) return undefined;
    if (part.targets.some((target) => !isWholeOutput(target, piece))) return undefined;
    const rotation = part.rotation && pieceOf(part.rotation, "rotation");
    if (part.rotation !== undefined && !(rotation && fitsRotation(rotation, { piece, part })))
      return undefined;
    found.push({ part, piece, rotation });
  }
  return found;
}

const isWholeOutput = (target: PartTarget, { M, N }: TilePiece): boolean =>
  target.kind === "store" || sizeOf(target.type.shape) === M * N;

/** Whether a rotation turns whole heads of the product's rows. */
function fitsRotation(
  { width, rows, tokens, layout, pairs }: RotationPiece,
  { piece: { M, N }, part: { order, targets } }: Pick<TilePart, "piece" | "part">,
): boolean {
  const isWhole = N % width === 0 && (layout === "interleaved" || 2 * pairs === width);
  const isOrdered =
    order === undefined ? tokens === 1 || width === N : order.length === tokens && order.width === width;
  return rows === M && isWhole && isOrdered && targets.length === 1;
}

/** How a part's outputs are shared out among the slots of a stack. */
function shapeOf(
  { part, piece: { N }, rotation }: TilePart,
  { tiling, stack }: { readonly tiling: Tiling; readonly stack: number },
): PartShape {
  const common = { N, stack, order: part.order };
  if (stack === 1 || part.products.length > 1)
    return { ...common, end: N, run: rotation?.width ?? N, row: (_slot, c) => c };
  // One product: neighbouring runs of its outputs take turns, the halves of a head where these belong together.
  const share = rotation?.layout === "half" ? rotation.pairs : tiling.partColumns / 2;
  return {
    ...common,
    end: Math.ceil(N / (2 * share)) * share,
    run: share,
    row: (slot, c) => `${c} / ${share}u * ${2 * share}u + ${c} % ${share}u + ${slot * share}u`,
  };
}
