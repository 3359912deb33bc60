import { HeddleError } from "../error.js";
import { scope } from "../scope.js";
import type { Tensor } from "../tensor.js";
import { mapTree } from "../tree.js";
import { Tape } from "./tape.js";
import { deviceOfTree, tensorsOf, withTape } from "./value-and-grad.js";

/**
 * Trades time for memory: inside `valueAndGrad` the result keeps none of what `fn` made on the way and runs `fn` again when
 * the gradient needs it. Values and gradients are those of `fn` to the last bit.
 *
 * Every tensor that needs a gradient must be an argument (trees are fine), not caught from outside. `fn` must be pure and
 * return a tensor or a tree of tensors.
 * @throws HeddleError "config" if `fn` uses a followed tensor that is not an argument
 * @see Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost, arXiv:1604.06174
 */
export function checkpoint<Args extends readonly unknown[], Result>(
  fn: (...args: Args) => Result,
): (...args: Args) => Result {
  return (...args) => {
    const inputs = tensorsOf(args);
    const tape = innermostTape(inputs);
    if (tape === undefined) return fn(...args);
    const lower = (values: readonly Tensor[]) => {
      let next = 0;
      return mapTree<unknown, Args>(args, (leaf) => (isTensor(leaf, inputs) ? values[next++] : leaf));
    };
    const primals = inputs.map((input) => tape.primal(input));
    const device = deviceOfTree("checkpoint", args);
    const result = scope(device, () => fn(...lower(primals)));
    const outputs = tensorsOf(result);
    if (outputs.some((output) => output.source.kind === "tape" && output.source.trace === tape)) {
      throw new HeddleError(
        "config",
        "checkpoint: every tensor with a gradient must be passed as an argument; got one caught from outside the function. Add it to the arguments.",
      );
    }
    const followed = tape.record("checkpoint", inputs, outputs, (grads, needed) =>
      withTape(device, (inner) => {
        const again = primals.map((primal, i) => (needed[i] ? inner.watch(primal) : primal));
        const roots = tensorsOf(fn(...lower(again)));
        const found = inner.backward(
          roots,
          grads,
          again.filter((_, i) => needed[i]),
        );
        let next = 0;
        return again.map((_, i) => (needed[i] ? found[next++] : undefined));
      }),
    );
    let next = 0;
    return mapTree<unknown, Result>(result, (leaf) => (isTensor(leaf, outputs) ? followed[next++] : leaf));
  };
}

function isTensor(leaf: unknown, among: readonly Tensor[]): boolean {
  return (among as readonly unknown[]).includes(leaf);
}

function innermostTape(tensors: readonly Tensor[]): Tape | undefined {
  let innermost: Tape | undefined;
  for (const { source } of tensors) {
    if (
      source.kind === "tape" &&
      source.trace instanceof Tape &&
      source.trace.level > (innermost?.level ?? 0)
    ) {
      innermost = source.trace;
    }
  }
  return innermost;
}
