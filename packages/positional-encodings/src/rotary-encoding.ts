import type { RotateEncoding } from "./position-encoding.js";
import { type RotaryOptions, rotary } from "./rotary.js";

/**
 * Makes rotary positions an encoding: query and key are turned by `rotary`.
 *
 * Shapes: x [B, H, T, D]; positions [T] or [B, T] int32, in tokens, default 0..T-1.
 * @returns an encoding of kind "rotate", which holds no tensors
 * @throws HeddleError when it is applied: the errors of `rotary`
 * @see Su et al. 2021, RoFormer, arXiv:2104.09864, section 3.4. Departures: those of `rotary`
 */
export function rotaryEncoding(options: Omit<RotaryOptions, "positions"> = {}): RotateEncoding {
  const rotate: RotateEncoding["rotateQuery"] = (x, positions) => rotary(x, { ...options, positions });
  return { kind: "rotate", numAxes: 1, rotateQuery: rotate, rotateKey: rotate };
}
