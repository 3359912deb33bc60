import type { FunctionBuilder } from "../../wasm/assembler.js";
import { i32 } from "../../wasm/scalar.js";
import { f32x4 } from "../../wasm/simd.js";
import { laneMath } from "../../wasm/simd-math.js";
import type { Local, Value } from "../../wasm/value.js";
import type { CpuFeatures, KernelArgument, LoweredKernel } from "../kernel.js";
import { argument, kernelStep } from "./kernel-step.js";
import { loadLanes, storeLanes } from "./lanes.js";
import { sumPartialRowsStep } from "./partial-rows.js";
import type { Position } from "./row.js";
import {
  bufferKey,
  laneRange,
  openRowAccess,
  positionAddress,
  type RowAccess,
  type RowBuffer,
  type RowShape,
} from "./row-kernel.js";

/** Adds to the chunk's partial sums: `sum` counts the parameters (0 = first). */
export type AddPartial = (sum: number, at: Position, value: Value<"v128">) => void;

export interface NormGradSpec extends RowShape {
  readonly name: string;
  readonly buffers: readonly RowBuffer[];
  /** Launch buffers to which the sums over rows go, one row of `columns` each. */
  readonly sums: readonly number[];
  readonly extra: readonly KernelArgument[];
}

/** Most chunks that rows are cut into, and fewest rows of a chunk; fixed, so that threads do not change sums. */
const maxChunks = 128;
const minChunkRows = 16;

/**
 * The gradient of a normalisation: one pass over rows that writes dx and adds up the gradients of the parameters per chunk of
 * rows; then the chunks are summed.
 */
export function normGradKernel(
  spec: NormGradSpec,
  features: CpuFeatures,
  body: (f: FunctionBuilder, row: RowAccess, context: { add: AddPartial; extra: readonly Local[] }) => void,
): LoweredKernel {
  const { name, buffers, sums, extra, rows, columns, dtype } = spec;
  const chunkRows = Math.max(minChunkRows, Math.ceil(rows / maxChunks));
  const numChunks = Math.ceil(rows / chunkRows);
  const rowBytes = columns * 4;
  const inputs = buffers.map((_, k) => argument.buffer(k));
  const rowsStep = kernelStep(
    {
      key: `${name}/${bufferKey(buffers)}/${sums.length}`,
      features,
      args: [
        ...inputs,
        argument.scratch(0),
        ...[columns, rows, chunkRows, numChunks].map(argument.i32),
        ...extra,
      ],
      units: numChunks,
      grain: 8192 / (columns * chunkRows),
    },
    (f, parameters, { begin, end }) => {
      const pointers = parameters.slice(0, buffers.length) as Local<"i32">[];
      const [scratch, count, numRows, perChunk, chunks, ...rest] = parameters.slice(buffers.length);
      const [partials = begin, width = begin] = [scratch, count] as Local<"i32">[];
      const loop = { count: width, isPaired: features.revectorized };
      const math = laneMath(f, features);
      const bytes = f.let(i32.shl(width, 2));
      f.for(begin, end, 1, (chunk) => {
        const lines = sums.map((_, s) => {
          const index = i32.add(i32.mul((chunks ?? begin) as Local<"i32">, s), chunk);
          const line = f.let(i32.add(partials, i32.mul(index, bytes)));
          f.fillMemory(line, 0, bytes);
          return line;
        });
        const add: AddPartial = (sum, at, value) => {
          const address = positionAddress(at, lines[sum] ?? partials, "f32");
          const range = laneRange(at, "f32");
          const before = loadLanes(f, "f32", address, range);
          storeLanes(f, "f32", address, { value: f32x4.add(before, value), ...range });
        };
        const first = f.let(i32.mul(chunk, (perChunk ?? begin) as Local<"i32">));
        const last = f.let(i32.add(first, (perChunk ?? begin) as Local<"i32">));
        const total = (numRows ?? begin) as Local<"i32">;
        f.if(i32.gtS(last, total), () => f.set(last, total));
        f.for(first, last, 1, (row) => {
          body(f, openRowAccess(f, { buffers, pointers, loop, row, math }), { add, extra: rest });
        });
      });
    },
  );
  const sumSteps = sums.map((output, s) =>
    sumPartialRowsStep({
      partials: argument.scratch(s * numChunks * rowBytes),
      output: argument.buffer(output),
      numPartials: numChunks,
      columns,
      dtype,
      features,
    }),
  );
  return { steps: [rowsStep, ...sumSteps], scratchBytes: sums.length * numChunks * rowBytes };
}
