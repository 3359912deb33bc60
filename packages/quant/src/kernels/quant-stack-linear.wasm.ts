import { invariant } from "@heddle/tensor";
import {
  argument,
  type FunctionBuilder,
  f32,
  f32x4,
  i32,
  kernelStep,
  type Local,
  v128,
  type WasmKernelFactory,
} from "@heddle/tensor/kernel";
import { BLOCK_SIZE, presentParts, type StackLayout } from "../quant-format.js";
import { formatKey, panelArguments } from "./panel-arguments.js";
import { unpackRow } from "./unpack-rows.wasm.js";

/** Numbers of a matrix that are worth a thread. */
const GRAIN_NUMBERS = 16384;

/** Units that a product is cut into, about, so that threads share few chosen matrices. */
const NUM_UNITS = 64;

/**
 * y_r = W[which_r] x_r over a stack of quantised matrices. A unit is a slice of the outputs of one matrix: if a row names the matrix,
 * each of its outputs is widened to f32 once, into the unit's own room, and multiplied with every row that does. Matrices that no row
 * names are not read. A row that names none gets zeros.
 *
 * Buffers: x [R, in], which [R], the weight's tensors, y [R, out].
 */
export const quantStackLinearWasm: WasmKernelFactory<StackLayout> = ({ inputs, params }, features) => {
  const { numMatrices, ...layout } = params;
  const [x, , ...parts] = inputs;
  const rows = x?.shape[0] ?? 0;
  const { inFeatures } = layout;
  const outFeatures = layout.outFeatures / numMatrices;
  if (x?.dtype !== "f32" || rows === 0 || outFeatures === 0 || inFeatures === 0) return undefined;
  const perSlice = Math.ceil(outFeatures / Math.min(outFeatures, Math.ceil(NUM_UNITS / numMatrices)));
  const slices = Math.ceil(outFeatures / perSlice);
  const tail = inFeatures % BLOCK_SIZE;
  const present = presentParts(layout);
  const counts = [inFeatures, outFeatures, rows, slices, perSlice, numMatrices].map(argument.i32);
  const step = kernelStep(
    {
      key: `quant-stack:${formatKey(layout)}:${tail}:${features.relaxedSimd}`,
      features,
      args: [
        ...Array.from({ length: parts.length + 3 }, (_, i) => argument.buffer(i)),
        argument.scratch(0),
        ...panelArguments(layout),
        ...counts,
      ],
      units: numMatrices * slices,
      grain: GRAIN_NUMBERS / (perSlice * inFeatures),
    },
    (f, parameters, { begin, end }) => {
      const [xs, which, ...rest] = parameters as readonly Local<"i32">[];
      const addresses = Object.fromEntries(present.map((name, i) => [name, rest[i] ?? begin]));
      const [ys, room, numBlocks, numGroups, numSupers, blocksPerGroup, ...extents] = rest.slice(
        parts.length,
      );
      const [width, height, numRows, numSlices, sliceHeight, matrices] = extents;
      invariant(xs && which && ys && room, "a product over a stack has rows, choices, results and room");
      invariant(numBlocks && numGroups && numSupers && blocksPerGroup, "panels have counts");
      invariant(width && height && numRows && numSlices && sliceHeight && matrices, "a stack has extents");
      const rowBytes = f.let(i32.shl(width, 2));
      f.for(begin, end, 1, (unit) => {
        const own = f.let(i32.add(room, i32.mul(unit, rowBytes)));
        const matrix = f.let(i32.divU(unit, numSlices));
        const from = f.let(i32.mul(i32.sub(unit, i32.mul(matrix, numSlices)), sliceHeight));
        const to = f.let(i32.add(from, sliceHeight));
        f.if(i32.ltU(height, to), () => f.set(to, height));
        const forRows = (body: (row: Local<"i32">) => void) =>
          f.for(0, numRows, 1, (row) => {
            f.if(i32.eq(i32.load(i32.add(which, i32.shl(row, 2))), matrix), () => body(row));
          });
        // The slices of the first matrix see to the rows that name none.
        f.if(i32.eqz(matrix), () => clearUnnamed(f, { which, numRows, matrices, ys, height, from, to }));
        const isNamed = f.let(i32.const(0));
        f.set(isNamed, i32.const(0));
        forRows(() => f.set(isNamed, i32.const(1)));
        f.if(isNamed, () => {
          f.for(from, to, 1, (output) => {
            const row = f.let(i32.add(i32.mul(matrix, height), output));
            const target = f.let(own);
            unpackRow(f, layout, {
              addresses,
              counts: { numBlocks, numGroups, numSupers, blocksPerGroup },
              row,
              target,
              tail,
            });
            forRows((r) => {
              const y = f.let(i32.add(ys, i32.shl(i32.add(i32.mul(r, height), output), 2)));
              const given = f.let(i32.add(xs, i32.mul(r, rowBytes)));
              f.store(
                "f32",
                y,
                dot(f, { a: own, b: given, rowBytes, tail, isRelaxed: features.relaxedSimd }),
              );
            });
          });
        });
      });
    },
  );
  return { steps: [step], scratchBytes: numMatrices * slices * inFeatures * 4 };
};

/** Zeros at outputs from..to-1 of rows that name no matrix. */
function clearUnnamed(
  f: FunctionBuilder,
  {
    which,
    numRows,
    matrices,
    ys,
    height,
    from,
    to,
  }: Readonly<Record<"which" | "numRows" | "matrices" | "ys" | "height" | "from" | "to", Local<"i32">>>,
): void {
  f.for(0, numRows, 1, (row) => {
    f.if(i32.geU(i32.load(i32.add(which, i32.shl(row, 2))), matrices), () => {
      const y = i32.add(ys, i32.shl(i32.add(i32.mul(row, height), from), 2));
      f.fillMemory(y, 0, i32.shl(i32.sub(to, from), 2));
    });
  });
}

interface DotOfRows {
  readonly a: Local<"i32">;
  readonly b: Local<"i32">;
  readonly rowBytes: Local<"i32">;
  /** Numbers behind the last whole block. */
  readonly tail: number;
  readonly isRelaxed: boolean;
}

/** Dot product of two rows of f32. */
function dot(f: FunctionBuilder, { a, b, rowBytes, tail, isRelaxed }: DotOfRows) {
  const sum = f.let(f32x4.splat(0));
  f.set(sum, f32x4.splat(0));
  const lanes = tail % 4;
  const whole = f.let(lanes === 0 ? rowBytes : i32.sub(rowBytes, 4 * lanes));
  f.for(0, whole, 16, (offset) => {
    const [left, right] = [v128.load(i32.add(a, offset)), v128.load(i32.add(b, offset))];
    f.set(sum, isRelaxed ? f32x4.relaxedMadd(left, right, sum) : f32x4.add(f32x4.mul(left, right), sum));
  });
  const total = f.let(
    f32.add(
      f32.add(f32x4.extract(sum, 0), f32x4.extract(sum, 1)),
      f32.add(f32x4.extract(sum, 2), f32x4.extract(sum, 3)),
    ),
  );
  for (let i = 0; i < lanes; i++) {
    const [left, right] = [i32.add(a, whole), i32.add(b, whole)];
    f.set(total, f32.add(total, f32.mul(f32.load(left, 4 * i), f32.load(right, 4 * i))));
  }
  return total;
}
