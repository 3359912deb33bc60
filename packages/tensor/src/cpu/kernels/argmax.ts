import type { FunctionBuilder } from "../../wasm/assembler.js";
import { i32 } from "../../wasm/scalar.js";
import { f32x4, i32x4, v128 } from "../../wasm/simd.js";
import type { Local, Value } from "../../wasm/value.js";
import type { CpuFeatures, LoweredKernel } from "../kernel.js";
import type { AxisShape } from "./axis-shape.js";
import { foldKind, laneFold } from "./fold.js";
import { argument, kernelStep } from "./kernel-step.js";
import { elementAddress, type LaneWidth, loadLanes } from "./lanes.js";
import { foldTerm } from "./row.js";
import { laneRange, positionAddress } from "./row-kernel.js";

/** Columns of one unit. */
const stripColumns = 64;

/**
 * Index of the largest (or smallest) element along an axis. The first of equal ones wins; the first NaN wins over numbers.
 *
 * Buffers: x [outer, extent, inner], out i32 [outer, inner]. The extent must not be 0.
 */
export function argmaxKernel(which: "max" | "min", shape: AxisShape, features: CpuFeatures): LoweredKernel {
  const step = shape.inner === 1 ? rowStep(which, shape, features) : columnStep(which, shape, features);
  return { steps: [step], scratchBytes: 0 };
}

/** One unit = one row: its extreme first, then the first place where it is found. */
function rowStep(which: "max" | "min", { outer, extent, dtype }: AxisShape, features: CpuFeatures) {
  const kind = foldKind(dtype);
  return kernelStep(
    {
      key: `arg${which}/rows/${dtype}`,
      features,
      args: [argument.buffer(0), argument.buffer(1), argument.i32(extent)],
      units: outer,
      grain: 16384 / (extent + 8),
    },
    (f, [source, target, count], { begin, end }) => {
      f.for(begin, end, 1, (row) => {
        const line = f.let(elementAddress(source, i32.mul(row, count), dtype));
        const loop = { count, isPaired: false };
        const folded = foldTerm(f, loop, laneFold(which, kind), (at) =>
          loadLanes(f, dtype, positionAddress(at, line, dtype), laneRange(at, dtype)),
        );
        const extreme = f.let(i32x4.splat(i32x4.extract(folded, 0)));
        const place = findFirst(f, count, (i, width) => {
          const value = loadLanes(f, dtype, elementAddress(line, i, dtype), { width });
          return isExtreme(value, extreme, kind === "float");
        });
        f.store("i32", elementAddress(target, row, "i32"), place);
      });
    },
  );
}

/** Equal to the extreme, or both NaN. */
function isExtreme(value: Local<"v128">, extreme: Local<"v128">, isFloat: boolean): Value<"v128"> {
  if (!isFloat) return i32x4.eq(value, extreme);
  const bothNaN = v128.and(f32x4.ne(value, value), f32x4.ne(extreme, extreme));
  return v128.or(f32x4.eq(value, extreme), bothNaN);
}

/** Index of the first element whose lane is set. */
function findFirst(
  f: FunctionBuilder,
  count: Local<"i32">,
  test: (i: Local<"i32">, width: LaneWidth) => Value<"v128">,
): Local<"i32"> {
  const i = f.let(i32.const(0));
  const bits = f.local("i32");
  f.block((found) => {
    f.advance(i, i32.sub(count, 3), 4, () => {
      f.set(bits, i32x4.bitmask(test(i, 4)));
      f.if(bits, () => {
        f.increase(i, i32.ctz(bits));
        f.branch(found);
      });
    });
    f.advance(i, count, 1, () => f.branchIf(found, i32x4.bitmask(test(i, 1))));
  });
  return i;
}

/** One unit = 64 columns of one outer index: keeps the best value and its index per lane. */
function columnStep(which: "max" | "min", { outer, extent, inner, dtype }: AxisShape, features: CpuFeatures) {
  const kind = foldKind(dtype);
  const strips = Math.ceil(inner / stripColumns);
  return kernelStep(
    {
      key: `arg${which}/columns/${dtype}`,
      features,
      args: [argument.buffer(0), argument.buffer(1), ...[extent, inner, strips].map(argument.i32)],
      units: outer * strips,
      grain: 16384 / (extent * stripColumns),
    },
    (f, [source, target, ...sizes], { begin, end }) => {
      const [rows, columns, perOuter] = sizes as [Local<"i32">, Local<"i32">, Local<"i32">];
      f.for(begin, end, 1, (unit) => {
        const block = f.let(i32.divU(unit, perOuter));
        const column = f.let(i32.mul(i32.remU(unit, perOuter), stripColumns));
        const limit = f.let(i32.add(column, stripColumns));
        f.if(i32.gtS(limit, columns), () => f.set(limit, columns));
        const pass = (width: LaneWidth) => () => {
          const first = i32.add(i32.mul(i32.mul(block, rows), columns), column);
          const address = f.let(elementAddress(source, first, dtype));
          const stride = f.let(elementAddress(i32.const(0), columns, dtype));
          const best = loadLanes(f, dtype, address, { width });
          const index = f.let(i32x4.splat(0));
          f.for(1, rows, 1, (row) => {
            f.increase(address, stride);
            const value = loadLanes(f, dtype, address, { width });
            const wins = f.let(isBetter(which, { value, best, kind }));
            f.set(best, v128.bitselect(value, best, wins));
            f.set(index, v128.bitselect(i32x4.splat(row), index, wins));
          });
          const to = elementAddress(target, i32.add(i32.mul(block, columns), column), "i32");
          if (width === 4) f.store("v128", to, index);
          else f.storeLane(32, to, index, { lane: 0 });
        };
        f.advance(column, i32.sub(limit, 3), 4, pass(4));
        f.advance(column, limit, 1, pass(1));
      });
    },
  );
}

function isBetter(
  which: "max" | "min",
  { value, best, kind }: { value: Local<"v128">; best: Local<"v128">; kind: ReturnType<typeof foldKind> },
): Value<"v128"> {
  const name = which === "max" ? "gt" : "lt";
  if (kind !== "float") return i32x4[`${name}${kind === "signed" ? "S" : "U"}`](value, best);
  const firstNaN = v128.and(f32x4.ne(value, value), f32x4.eq(best, best));
  return v128.or(f32x4[name](value, best), firstNaN);
}
