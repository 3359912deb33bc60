import { defineOp, type Op } from "@heddle/tensor";
import { fitPart } from "../blocks/q4-k.js";
import { fitPart as fitSigned } from "../blocks/q6-k.js";
import { fitScalesAndMinsWasm } from "../kernels/fit-scales-and-mins.wasm.js";
import { fitSignedScalesWasm } from "../kernels/fit-signed-scales.wasm.js";

/**
 * Scale and minimum of each sub-block of 32 numbers, as Q4_K fits them before it rounds these.
 *
 * Shapes: x [count] f32, count a multiple of 128 -> scales and minima [count / 32] f32.
 */
export const fitScalesAndMinsOp: Op<undefined> = defineOp({
  name: "fitScalesAndMins",
  infer: ([x]) => {
    const shape = [(x?.shape[0] ?? 0) / 32];
    return [
      { shape, dtype: "f32" },
      { shape, dtype: "f32" },
    ];
  },
  evaluate([x], [scales, mins]) {
    eachPart(x?.data, 32, (part, at) => {
      const { scale, min } = fitPart(part);
      if (scales) scales.data[at] = scale;
      if (mins) mins.data[at] = min;
    });
  },
  vjp: () => [undefined],
  kernels: { wasm: fitScalesAndMinsWasm },
});

/**
 * Scale of each sub-block of 16 numbers, as Q6_K fits them before it rounds these.
 *
 * Shapes: x [count] f32, count a multiple of 64 -> scales [count / 16] f32.
 */
export const fitSignedScalesOp: Op<undefined> = defineOp({
  name: "fitSignedScales",
  infer: ([x]) => [{ shape: [(x?.shape[0] ?? 0) / 16], dtype: "f32" }],
  evaluate([x], [scales]) {
    eachPart(x?.data, 16, (part, at) => {
      if (scales) scales.data[at] = fitSigned(part).scale;
    });
  },
  vjp: () => [undefined],
  kernels: { wasm: fitSignedScalesWasm },
});

function eachPart(
  values: ArrayLike<number> | undefined,
  size: number,
  visit: (part: Float32Array, at: number) => void,
): void {
  const all = Float32Array.from(values ?? []);
  for (let start = 0; start < all.length; start += size)
    visit(all.subarray(start, start + size), start / size);
}
