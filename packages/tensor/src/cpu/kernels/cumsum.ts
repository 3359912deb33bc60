import type { FunctionBuilder } from "../../wasm/assembler.js";
import { i32 } from "../../wasm/scalar.js";
import { f32x4, f64x2, i32x4, i64x2 } from "../../wasm/simd.js";
import type { Local, Value } from "../../wasm/value.js";
import type { CpuFeatures, LoweredKernel } from "../kernel.js";
import type { AxisShape } from "./axis-shape.js";
import { argument, kernelStep } from "./kernel-step.js";
import {
  elementAddress,
  isFloatLane,
  type LaneDType,
  type LaneWidth,
  loadLanes,
  storeLanes,
  wrapLanes,
} from "./lanes.js";

/** Columns of one unit. */
const stripColumns = 64;

/**
 * Running sum along an axis, from the front or (`reverse`) from the back: y[j] = x[0] + .. + x[j]. Floats add in float64.
 *
 * Buffers: x, y [outer, extent, inner]; y may be x.
 */
export function cumsumKernel(
  { outer, extent, inner, dtype, reverse }: AxisShape & { readonly reverse: boolean },
  features: CpuFeatures,
): LoweredKernel {
  const strips = Math.ceil(inner / stripColumns);
  const step = kernelStep(
    {
      key: `cumsum/${dtype}/${reverse}`,
      features,
      args: [argument.buffer(0), argument.buffer(1), ...[extent, inner, strips].map(argument.i32)],
      units: outer * strips,
      grain: 8192 / (extent * Math.min(inner, stripColumns)),
    },
    (f, [source, target, ...sizes], { begin, end }) => {
      const [rows, columns, perOuter] = sizes as [Local<"i32">, Local<"i32">, Local<"i32">];
      f.for(begin, end, 1, (unit) => {
        const column = f.let(i32.mul(i32.remU(unit, perOuter), stripColumns));
        const limit = f.let(i32.add(column, stripColumns));
        f.if(i32.gtS(limit, columns), () => f.set(limit, columns));
        const firstRow = f.let(i32.mul(i32.divU(unit, perOuter), rows));
        const pass = (width: LaneWidth) => () => {
          const total = runningTotal(f, dtype);
          f.for(0, rows, 1, (j) => {
            const row = reverse ? i32.sub(i32.sub(rows, 1), j) : j;
            const index = f.let(i32.add(i32.mul(i32.add(firstRow, row), columns), column));
            const value = total.add(loadLanes(f, dtype, elementAddress(source, index, dtype), { width }));
            storeLanes(f, dtype, elementAddress(target, index, dtype), { value, width });
          });
        };
        f.advance(column, i32.sub(limit, 3), 4, pass(4));
        f.advance(column, limit, 1, pass(1));
      });
    },
  );
  return { steps: [step], scratchBytes: 0 };
}

/** Four running totals: float64 pairs for floats, 32-bit integers else. `add` returns the totals as lanes. */
function runningTotal(f: FunctionBuilder, dtype: LaneDType): { add(value: Local<"v128">): Value<"v128"> } {
  if (!isFloatLane(dtype)) {
    const total = f.let(i32x4.splat(0));
    return {
      add(value) {
        f.set(total, i32x4.add(total, value));
        return wrapLanes(f, dtype, total);
      },
    };
  }
  const [low, high] = [f.let(f64x2.splat(0)), f.let(f64x2.splat(0))];
  return {
    add(value) {
      f.set(low, f64x2.add(low, f64x2.promoteLowF32x4(value)));
      f.set(high, f64x2.add(high, f64x2.promoteLowF32x4(i32x4.shuffle(value, value, [2, 3, 2, 3]))));
      return i64x2.shuffle(f32x4.demoteF64x2Zero(low), f32x4.demoteF64x2Zero(high), [0, 2]);
    },
  };
}
