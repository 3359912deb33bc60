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

/** A constant with the device and trace of `like`; shape and dtype default to its own. */
export function fillLike(like: Tensor, value: number, type: { shape?: Shape; dtype?: DType } = {}): Tensor {
  return fillOp.call([like], { shape: type.shape ?? like.shape, dtype: type.dtype ?? like.dtype, value });
}
