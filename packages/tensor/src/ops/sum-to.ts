import type { Shape } from "../shape.js";
import { sameShape } from "../shape.js";
import type { Tensor } from "../tensor.js";

/** Sums over the axes that broadcasting repeated, so that a gradient gets back the shape of its input. */
export function sumTo(grad: Tensor, shape: Shape): Tensor {
  if (sameShape(grad.shape, shape)) return grad;
  const lead = grad.shape.length - shape.length;
  const axes = grad.shape.flatMap((extent, axis) =>
    axis < lead || (shape[axis - lead] === 1 && extent !== 1) ? [axis] : [],
  );
  return grad.sum({ axes, keepDims: true }).reshape(shape);
}
