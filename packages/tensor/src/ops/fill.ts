import type { DType } from "../dtype.js";
import { defineOp } from "../op.js";
import type { Shape } from "../shape.js";
import type { Tensor } from "../tensor.js";

/** A tensor of one value, on the device (and in the trace) of its input, whose values are not read. */
const fillOp = defineOp<{ readonly shape: Shape; readonly dtype: DType; readonly value: number }>({
  name: "fill",
  infer: (_inputs, { shape, dtype }) => [{ shape, dtype }],
  copies: (_inputs, _output, { value }) => ({ regions: [], fill: value }),
  evaluate(_inputs, [output], { value }) {
    output?.data.fill(value);
  },
  vjp: () => [],
});

/**
 * Makes a tensor of one value with the device and trace of `like`, whose values are not read.
 *
 * Shapes: like [..] -> type.shape, default that of `like`; dtype likewise.
 * @returns a new tensor that the caller owns
 */
export function fillLike(like: Tensor, value: number, type: { shape?: Shape; dtype?: DType } = {}): Tensor {
  return fillOp.call([like], { shape: type.shape ?? like.shape, dtype: type.dtype ?? like.dtype, value });
}
