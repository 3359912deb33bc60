import type { Device } from "../device.js";
import { isFloat } from "../dtype.js";
import { HeddleError } from "../error.js";
import { fillLike } from "../ops/fill.js";
import { runtimeOf, scope } from "../scope.js";
import { formatType } from "../shape.js";
import { Tensor } from "../tensor.js";
import { flattenTree, mapTree } from "../tree.js";
import { Tape } from "./tape.js";

/** Runs `fn` with a tape of its own. */
export function withTape<Result>(device: Device, fn: (tape: Tape) => Result): Result {
  const runtime = runtimeOf(device);
  runtime.tapeDepth++;
  try {
    return fn(new Tape(runtime.tapeDepth));
  } finally {
    runtime.tapeDepth--;
  }
}

/** The tensors of a tree; other leaves (numbers, names) are left out. */
export function tensorsOf(tree: unknown): Tensor[] {
  return flattenTree(tree).leaves.filter((leaf): leaf is Tensor => leaf instanceof Tensor);
}

export interface ValueAndGrad<Weights> {
  /** The scalar that `fn` returned. */
  readonly value: Tensor;
  /** Derivative of the value with respect to each float tensor of `weights`, in a tree of the same form. */
  readonly grad: Weights;
}

export interface ValueGradAndAux<Weights, Aux> extends ValueAndGrad<Weights> {
  readonly aux: Aux;
}

/**
 * Makes a function that returns the value of `fn` and its gradient with respect to the first argument.
 *
 * Reverse mode; the tape exists only during the call, and everything made in between is freed. `fn` must be synchronous and
 * return a scalar float (with `hasAux`, `{ value, aux }`, where `aux` is any tree and gets no gradient). Leaves of the
 * weights that are not float tensors come back as they are; a float tensor without influence gets zeros.
 * @returns a function (weights, ...inputs) -> { value, grad }; the caller owns the tensors in both
 * @throws HeddleError "shape" if `fn` does not return a scalar
 */
export function valueAndGrad<Weights, Inputs extends readonly unknown[]>(
  fn: (weights: Weights, ...inputs: Inputs) => Tensor,
): (weights: Weights, ...inputs: Inputs) => ValueAndGrad<Weights>;
export function valueAndGrad<Weights, Inputs extends readonly unknown[], Aux>(
  fn: (weights: Weights, ...inputs: Inputs) => { readonly value: Tensor; readonly aux: Aux },
  options: { readonly hasAux: true },
): (weights: Weights, ...inputs: Inputs) => ValueGradAndAux<Weights, Aux>;
export function valueAndGrad<Weights, Inputs extends readonly unknown[]>(
  fn: (weights: Weights, ...inputs: Inputs) => Tensor | { readonly value: Tensor; readonly aux: unknown },
): (weights: Weights, ...inputs: Inputs) => ValueGradAndAux<Weights, unknown> {
  return (weights, ...inputs) => {
    const device = deviceOfTree("valueAndGrad", [weights, inputs]);
    return scope(device, () =>
      withTape(device, (tape) => {
        const followed = mapTree<unknown, Weights>(weights, (leaf) =>
          leaf instanceof Tensor && isFloat(leaf.dtype) ? tape.watch(leaf) : leaf,
        );
        const result = fn(followed, ...inputs);
        const value = result instanceof Tensor ? result : result.value;
        const aux = result instanceof Tensor ? undefined : result.aux;
        checkScalar(value);
        const targets = tensorsOf(followed);
        const grads = tape.backward([value], [fillLike(tape.primal(value), 1)], targets);
        let next = 0;
        const grad = mapTree<unknown, Weights>(followed, (leaf) => {
          if (!(leaf instanceof Tensor)) return leaf;
          const own = grads[next++];
          return owned(own ?? (isFloat(leaf.dtype) ? fillLike(tape.primal(leaf), 0) : tape.primal(leaf)));
        });
        const lower = (leaf: unknown) => (leaf instanceof Tensor ? owned(tape.primal(leaf)) : leaf);
        return { value: owned(tape.primal(value)), grad, aux: mapTree(aux, lower) };
      }),
    );
  };
}

/** A tensor of its own for the caller, who disposes results, while the same value may be an argument or appear twice. */
function owned(tensor: Tensor): Tensor {
  return tensor.reshape(tensor.shape);
}

function checkScalar(value: Tensor): void {
  if (value.size !== 1 || !isFloat(value.dtype)) {
    throw new HeddleError(
      "shape",
      `valueAndGrad: the function must return one float; got ${formatType(value)}. Reduce the loss with \`.mean()\` or \`.sum()\`.`,
      { shape: value.shape, dtype: value.dtype },
    );
  }
}

/** The device of the first tensor in a tree. */
export function deviceOfTree(caller: string, tree: unknown): Device {
  const first = tensorsOf(tree)[0];
  if (first === undefined) {
    throw new HeddleError(
      "config",
      `${caller}: at least one argument must hold a tensor; got none. Pass the weights as a tree of tensors.`,
    );
  }
  return first.device;
}
