import { numberToBf16, numberToF16, roundTo } from "../../dtype.js";
import { i32 } from "../../wasm/scalar.js";
import { i32x4 } from "../../wasm/simd.js";
import type { CpuFeatures, KernelArgument, KernelStep } from "../kernel.js";
import { argument, kernelStep } from "./kernel-step.js";
import type { LaneDType } from "./lanes.js";

const fillBlockBytes = 65536;

/** Fills bytes `0..bytes-1` of a buffer (or of scratch memory) with one value of a dtype. */
export function fillStep(
  value: number,
  target: {
    readonly dtype: LaneDType;
    readonly output: KernelArgument;
    readonly bytes: number;
    readonly features: CpuFeatures;
  },
): KernelStep {
  const { dtype, output, bytes, features } = target;
  const pattern = fillPattern(dtype, value);
  return kernelStep(
    {
      key: "fill",
      features,
      args: [output, argument.i32(bytes), argument.i32(pattern)],
      units: Math.ceil(bytes / fillBlockBytes),
      grain: 4,
    },
    (f, [target, length, word], { begin, end }) => {
      const vector = f.let(i32x4.splat(word));
      const at = f.let(i32.mul(begin, fillBlockBytes));
      const limit = f.let(i32.mul(end, fillBlockBytes));
      f.if(i32.gtU(limit, length), () => f.set(limit, length));
      f.advance(at, i32.sub(limit, 15), 16, () => f.store("v128", i32.add(target, at), vector));
      f.advance(at, limit, 1, () =>
        f.store("i8", i32.add(target, at), i32.shrU(word, i32.shl(i32.and(at, 3), 3))),
      );
    },
  );
}

/** The four bytes that repeat through a buffer filled with a value. */
function fillPattern(dtype: LaneDType, value: number): number {
  const rounded = roundTo(dtype, value);
  switch (dtype) {
    case "f32":
      return new Int32Array(new Float32Array([rounded]).buffer)[0] ?? 0;
    case "f16":
      return Math.imul(numberToF16(rounded), 0x10001);
    case "bf16":
      return Math.imul(numberToBf16(rounded), 0x10001);
    case "i32":
    case "u32":
      return rounded | 0;
    case "i8":
    case "u8":
    case "bool":
      return Math.imul(rounded & 255, 0x1010101);
    default:
      return dtype satisfies never;
  }
}
