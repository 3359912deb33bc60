import type { Tensor } from "../tensor.js";

/** Runs a composition in f32 where x is a half float, rounding once at the end as a fused kernel does. */
export function widened(x: Tensor | undefined, run: (x: Tensor) => Tensor): readonly Tensor[] {
  if (x === undefined) return [];
  if (x.dtype !== "f16" && x.dtype !== "bf16") return [run(x)];
  return [run(x.cast("f32")).cast(x.dtype)];
}
