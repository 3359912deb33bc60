import type { CopyRegion } from "../../op-forms.js";
import { sizeOf } from "../../shape.js";
import type { FunctionBuilder } from "../../wasm/assembler.js";
import { i32 } from "../../wasm/scalar.js";
import { v128 } from "../../wasm/simd.js";
import { transposeFour } from "../../wasm/transpose.js";
import type { Local, Value } from "../../wasm/value.js";
import type { KernelStep } from "../kernel.js";
import { copyElement, type ElementBytes, type RegionContext } from "./copy-element.js";
import { argument, kernelStep } from "./kernel-step.js";
import { type StridedShape, stridedLoop, stridedParameters, stridedSizes } from "./strided-loop.js";

/** Rows and columns of a tile: its lines of both sides fit the first-level cache. */
const tile = 32;

/**
 * Copies a box whose second last axis is contiguous in the input and whose last axis is contiguous in the output, tile by
 * tile: reads along one, writes along the other.
 */
export function copyByTiles(region: CopyRegion, box: StridedShape, context: RegionContext): KernelStep {
  const [rows = 1, columns = 1] = box.shape.slice(-2);
  const loop = {
    shape: [...box.shape.slice(0, -2), Math.ceil(rows / tile), Math.ceil(columns / tile)],
    strides: box.strides.map((moves) =>
      moves.map((stride, axis) => (axis < moves.length - 2 ? stride : stride * tile)),
    ),
  };
  const { width, features } = context;
  const rank = loop.shape.length;
  const [columnStride, rowStride] = [box.strides[0]?.at(-1) ?? 0, box.strides[1]?.at(-2) ?? 0];
  return kernelStep(
    {
      key: `transpose/${width}/${rank}`,
      features,
      args: [
        argument.buffer(region.input),
        argument.buffer(context.output),
        ...[region.inputOffset, region.outputOffset, rows, columns].map(argument.i32),
        ...[columnStride * width, rowStride * width, ...stridedSizes(loop)].map(argument.i32),
      ],
      units: sizeOf(loop.shape),
      grain: 32,
    },
    (
      f,
      [source, target, sourceOffset, targetOffset, numRows, numColumns, sourceStride, targetStride, ...sizes],
      range,
    ) => {
      const shift = Math.log2(width);
      const left = (total: Value<"i32"> | undefined, index: Value<"i32"> | undefined) => {
        const count = f.let(i32.sub(total ?? 0, i32.mul(index ?? 0, tile)));
        f.if(i32.gtS(count, tile), () => f.set(count, tile));
        return count;
      };
      stridedLoop(f, range, stridedParameters(sizes, { rank, operands: 2 }), ({ indices, offsets }) => {
        copyTile(f, {
          source: f.let(i32.add(source, i32.shl(i32.add(offsets[0] ?? 0, sourceOffset ?? 0), shift))),
          target: f.let(i32.add(target, i32.shl(i32.add(offsets[1] ?? 0, targetOffset ?? 0), shift))),
          sourceStride: sourceStride ?? source,
          targetStride: targetStride ?? target,
          rows: left(numRows, indices.at(-2)),
          columns: left(numColumns, indices.at(-1)),
          width,
        });
      });
    },
  );
}

interface Tile {
  readonly source: Local<"i32">;
  readonly target: Local<"i32">;
  /** Bytes from one column to the next in the input, from one row to the next in the output. */
  readonly sourceStride: Local<"i32">;
  readonly targetStride: Local<"i32">;
  readonly rows: Local<"i32">;
  readonly columns: Local<"i32">;
  readonly width: ElementBytes;
}

/** 4 x 4 blocks of 32-bit elements, then what is left right and below, element by element. */
function copyTile(f: FunctionBuilder, block: Tile): void {
  const { rows, columns, width } = block;
  if (width !== 4) {
    copyElements(f, block, { row: i32.const(0), column: i32.const(0), toColumn: columns });
    return;
  }
  const wholeRows = f.let(i32.and(rows, -4));
  const wholeColumns = f.let(i32.and(columns, -4));
  f.for(0, wholeRows, 4, (row) =>
    f.for(0, wholeColumns, 4, (column) => transpose4x4(f, block, { row, column })),
  );
  copyElements(f, block, { row: i32.const(0), column: wholeColumns, toColumn: columns });
  copyElements(f, block, { row: wholeRows, column: i32.const(0), toColumn: wholeColumns });
}

interface Corner {
  readonly row: Value<"i32">;
  readonly column: Value<"i32">;
}

function transpose4x4(f: FunctionBuilder, block: Tile, { row, column }: Corner): void {
  const from = f.let(i32.add(i32.add(block.source, i32.shl(row, 2)), i32.mul(column, block.sourceStride)));
  const line = (k: number) => {
    if (k > 0) f.increase(from, block.sourceStride);
    return f.let(v128.load(from));
  };
  const transposed = transposeFour(f, [line(0), line(1), line(2), line(3)]);
  const to = f.let(i32.add(i32.add(block.target, i32.shl(column, 2)), i32.mul(row, block.targetStride)));
  for (const [k, column] of transposed.entries()) {
    if (k > 0) f.increase(to, block.targetStride);
    f.store("v128", to, column);
  }
}

/** Rows from `row` on, columns from `column` up to `toColumn`. */
function copyElements(
  f: FunctionBuilder,
  block: Tile,
  corner: Corner & { readonly toColumn: Value<"i32"> },
): void {
  const { source, target, sourceStride, targetStride, rows, width } = block;
  const shift = Math.log2(width);
  f.for(corner.row, rows, 1, (row) => {
    const from = f.let(i32.add(i32.add(source, i32.shl(row, shift)), i32.mul(corner.column, sourceStride)));
    const line = f.let(i32.add(target, i32.mul(row, targetStride)));
    f.for(corner.column, corner.toColumn, 1, (column) => {
      copyElement(f, width, i32.add(line, i32.shl(column, shift)), from);
      f.increase(from, sourceStride);
    });
  });
}
