import { i32 } from "../../wasm/scalar.js";
import { f32x4, f64x2, i32x4, i64x2, v128 } from "../../wasm/simd.js";
import type { CpuFeatures, KernelArgument, KernelStep } from "../kernel.js";
import { argument, kernelStep } from "./kernel-step.js";
import { elementAddress, type LaneDType, type LaneWidth, storeLanes } from "./lanes.js";

/** Columns of one unit. */
const unitColumns = 64;

/** Sums rows of f32 that other steps left in scratch memory, column by column in float64, into a buffer. */
export function sumPartialRowsStep(options: {
  readonly partials: KernelArgument;
  readonly output: KernelArgument;
  readonly numPartials: number;
  readonly columns: number;
  readonly dtype: LaneDType;
  readonly features: CpuFeatures;
}): KernelStep {
  const { partials, output, numPartials, columns, dtype, features } = options;
  return kernelStep(
    {
      key: `sumPartialRows/${dtype}`,
      features,
      args: [partials, output, argument.i32(numPartials), argument.i32(columns)],
      units: Math.ceil(columns / unitColumns),
      grain: 16384 / (unitColumns * numPartials),
    },
    (f, [source, target, count, width], { begin, end }) => {
      const column = f.let(i32.mul(begin, unitColumns));
      const limit = f.let(i32.mul(end, unitColumns));
      f.if(i32.gtS(limit, width), () => f.set(limit, width));
      const pass = (lanes: LaneWidth) => () => {
        const [low, high] = [f.let(f64x2.splat(0)), f.let(f64x2.splat(0))];
        const address = f.let(elementAddress(source, column, "f32"));
        f.for(0, count, 1, () => {
          const row = f.let(lanes === 4 ? v128.load(address) : v128.load32Splat(address));
          f.set(low, f64x2.add(low, f64x2.promoteLowF32x4(row)));
          f.set(high, f64x2.add(high, f64x2.promoteLowF32x4(i32x4.shuffle(row, row, [2, 3, 2, 3]))));
          f.increase(address, i32.shl(width, 2));
        });
        const value = i64x2.shuffle(f32x4.demoteF64x2Zero(low), f32x4.demoteF64x2Zero(high), [0, 2]);
        storeLanes(f, dtype, elementAddress(target, column, dtype), { value, width: lanes });
      };
      f.advance(column, f.let(i32.sub(limit, 3)), 4, pass(4));
      f.advance(column, limit, 1, pass(1));
    },
  );
}
