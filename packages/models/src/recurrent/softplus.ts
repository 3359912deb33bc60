import { defineOp, type Op, type Tensor, where } from "@heddle/tensor";

const softplusOp: Op<Record<string, never>> = defineOp({
  name: "softplus",
  infer: (inputs) => inputs.map(({ shape, dtype }) => ({ shape, dtype })),
  reference([x]) {
    if (!x) return [];
    // log(1 + e) loses e's last digits where e is small; the factor e / ((1 + e) - 1) gives them back (Goldberg 1991, theorem 4).
    const e = x.abs().neg().exp();
    const sum = e.add(1);
    const rounded = sum.sub(1);
    const isTiny = rounded.equal(0);
    const log = sum
      .log()
      .mul(e)
      .div(where(isTiny, 1, rounded));
    return [x.maximum(0).add(where(isTiny, e, log))];
  },
  vjp: ({ inputs: [x], grads: [g] }) => (x && g ? [g.mul(x.sigmoid())] : []),
});

/**
 * Smooth positive part: log(1 + exp(x)), exact for large and for very negative x.
 *
 * Shapes: x [..] -> [..], a float.
 * @returns a new tensor that the caller disposes
 */
export function softplus(x: Tensor): Tensor {
  return softplusOp.call([x], {});
}
