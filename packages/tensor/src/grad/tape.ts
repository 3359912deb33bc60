import { isFloat } from "../dtype.js";
import { HeddleError } from "../error.js";
import { applyOp, type OpSpec, typeOf } from "../op.js";
import type { Trace } from "../source.js";
import type { Tensor } from "../tensor.js";

/** One recorded step: how to turn gradients of its outputs into gradients of its inputs. */
interface TapeEntry {
  readonly name: string;
  /** Tape id of each input; -1 for one without a gradient. */
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  pullBack(
    grads: readonly (Tensor | undefined)[],
    needed: readonly boolean[],
  ): readonly (Tensor | undefined)[];
}

/**
 * Reverse-mode differentiation: runs every op on the primal values at once and remembers how to go back.
 * Lives during one `valueAndGrad` call. Tapes nest, which gives higher derivatives.
 */
export class Tape implements Trace {
  readonly level: number;
  readonly #entries: TapeEntry[] = [];
  #nextId = 0;

  /** Level 1 for the outermost tape; a tape made while another is open is one higher. */
  constructor(level: number) {
    this.level = level;
  }

  /** A tensor whose uses are recorded. */
  watch(primal: Tensor): Tensor {
    return primal.spawn(typeOf(primal), { kind: "tape", trace: this, id: this.#nextId++, primal });
  }

  /** The value under this tape's tensor; other tensors as they are. */
  primal(tensor: Tensor): Tensor {
    const { source } = tensor;
    return source.kind === "tape" && source.trace === this ? source.primal : tensor;
  }

  #idOf(tensor: Tensor): number {
    const { source } = tensor;
    return source.kind === "tape" && source.trace === this && isFloat(tensor.dtype) ? source.id : -1;
  }

  apply(spec: OpSpec, inputs: readonly Tensor[], params: unknown): readonly Tensor[] {
    const ids = inputs.map((input) => this.#idOf(input));
    const { vjp } = spec;
    const types = spec.infer(inputs, params);
    if (spec.mutates?.length && ids.some((id) => id >= 0)) {
      throw new HeddleError(
        "unsupported",
        `${spec.name}: an in-place op has no gradient; got a tensor that valueAndGrad follows. Pass \`x.detach()\`, or compute a new tensor instead.`,
        { op: spec.name },
      );
    }
    const constant = ids.every((id) => id < 0) || !types.some((type) => isFloat(type.dtype));
    if (!vjp && spec.reference && !constant) return spec.reference(inputs, params);
    const primals = inputs.map((input) => (constant ? this.primal(input) : kept(this.primal(input))));
    const outputs = applyOp(spec, primals, params);
    if (constant) return outputs;
    if (!vjp) {
      // sign and floor: piecewise constant, so their gradient is zero wherever it exists.
      if (spec.expression) return outputs;
      throw new HeddleError(
        "unsupported",
        `${spec.name}: this op has no gradient rule; got a tensor that valueAndGrad follows. Pass \`x.detach()\` if none is needed.`,
        { op: spec.name },
      );
    }
    return this.record(spec.name, inputs, outputs, (grads, needed) =>
      vjp({ inputs: primals, outputs, grads, params, needed }),
    );
  }

  /** Adds a step with its own way back and returns its outputs as followed tensors. */
  record(
    name: string,
    inputs: readonly Tensor[],
    outputs: readonly Tensor[],
    pullBack: TapeEntry["pullBack"],
  ): readonly Tensor[] {
    const followed = outputs.map((output) => this.watch(output));
    this.#entries.push({
      name,
      inputs: inputs.map((input) => this.#idOf(input)),
      outputs: followed.map((output) => this.#idOf(output)),
      pullBack,
    });
    return followed;
  }

  /** Gradients of the sum of `roots * seeds` with respect to `targets`; undefined for one that has no influence. */
  backward(
    roots: readonly Tensor[],
    seeds: readonly (Tensor | undefined)[],
    targets: readonly Tensor[],
  ): (Tensor | undefined)[] {
    const grads = new Map<number, Tensor>();
    const accumulate = (id: number, grad: Tensor) => {
      const sum = grads.get(id);
      grads.set(id, sum === undefined ? grad : sum.add(grad));
    };
    roots.forEach((root, i) => {
      const seed = seeds[i];
      if (seed !== undefined && this.#idOf(root) >= 0) accumulate(this.#idOf(root), seed);
    });
    const useful = this.#idsThatReach(targets);
    const wanted = new Set(targets.map((target) => this.#idOf(target)));
    for (let i = this.#entries.length - 1; i >= 0; i--) {
      const entry = this.#entries[i];
      if (entry === undefined) continue;
      const outputGrads = entry.outputs.map((id) => grads.get(id));
      const needed = entry.inputs.map((id) => id >= 0 && useful.has(id));
      if (outputGrads.every((grad) => grad === undefined) || !needed.includes(true)) continue;
      const inputGrads = entry.pullBack(outputGrads, needed);
      entry.inputs.forEach((id, j) => {
        const grad = inputGrads[j];
        if (needed[j] && grad !== undefined) accumulate(id, grad);
      });
      for (const id of entry.outputs) if (!wanted.has(id)) grads.delete(id);
    }
    return targets.map((target) => grads.get(this.#idOf(target)));
  }

  #idsThatReach(targets: readonly Tensor[]): Set<number> {
    const reached = new Set(targets.map((target) => this.#idOf(target)));
    for (const entry of this.#entries) {
      if (entry.inputs.some((id) => id >= 0 && reached.has(id)))
        for (const id of entry.outputs) reached.add(id);
    }
    return reached;
  }
}

/** A view that the tape owns, so that the caller may dispose the tensor before the gradient is computed. */
function kept(primal: Tensor): Tensor {
  const { source } = primal;
  return source.kind === "storage"
    ? primal.spawn(typeOf(primal), { kind: "storage", storage: source.storage.retain() })
    : primal;
}
