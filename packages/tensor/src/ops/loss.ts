import { crossEntropyGradKernel, crossEntropyKernel } from "../cpu/kernels/cross-entropy.js";
import { isHalf } from "../dtype.js";
import { HeddleError } from "../error.js";
import { defineOp, type Op } from "../op.js";
import { scope } from "../scope.js";
import { formatType, sizeOf } from "../shape.js";
import type { Tensor } from "../tensor.js";
import { crossEntropyGradWgsl, crossEntropyWgsl } from "../wgsl/kernels/cross-entropy.js";
import { elementwise } from "./elementwise.js";
import { rowShapeOf } from "./kernel-shapes.js";

export interface CrossEntropyParams {
  readonly ignoreIndex: number;
  readonly labelSmoothing: number;
}

/** Inputs logits [N, V], targets i32 [N]; outputs loss [N] (0 where ignored) and logsumexp [N]. */
export const crossEntropyOp: Op<CrossEntropyParams> = defineOp({
  name: "crossEntropy",
  infer([logits, targets]) {
    if (!logits || !targets) return [];
    const rows = { shape: targets.shape, dtype: logits.dtype };
    return [rows, rows];
  },
  evaluate([logits, targets], [loss, lse], { ignoreIndex, labelSmoothing }) {
    if (!logits || !targets || !loss || !lse) return;
    const V = logits.shape[1] ?? 1;
    for (let row = 0; row < targets.data.length; row++) {
      const line = logits.data.subarray(row * V, (row + 1) * V);
      let max = Number.NEGATIVE_INFINITY;
      for (const value of line) max = Math.max(max, value);
      let total = 0;
      let sum = 0;
      for (const value of line) {
        total += Math.exp(value - max);
        sum += value;
      }
      const logTotal = max + Math.log(total);
      lse.data[row] = logTotal;
      const target = targets.data[row] ?? 0;
      if (target === ignoreIndex) continue;
      const picked = line[target] ?? Number.NaN;
      loss.data[row] = logTotal - (1 - labelSmoothing) * picked - (labelSmoothing * sum) / V;
    }
  },
  vjp({ inputs: [logits, targets], outputs: [, lse], grads: [g], params }) {
    return logits && targets && lse && g ? [crossEntropyGradOp.call([logits, targets, lse, g], params)] : [];
  },
  kernels: {
    wasm({ inputs: [logits], params }, features) {
      const rows = rowShapeOf(logits);
      return rows && crossEntropyKernel({ ...rows, ...params }, features);
    },
    wgsl: ({ inputs: [logits], params }) => logits && crossEntropyWgsl(logits, params),
  },
});

/** Inputs logits [N, V], targets [N], logsumexp [N], gradient of each row's loss [N]; output [N, V]. */
export const crossEntropyGradOp: Op<CrossEntropyParams> = defineOp({
  name: "crossEntropyGrad",
  infer: ([logits]) => (logits ? [{ shape: logits.shape, dtype: logits.dtype }] : []),
  evaluate([logits, targets, lse, g], [output], { ignoreIndex, labelSmoothing }) {
    if (!logits || !targets || !lse || !g || !output) return;
    const V = logits.shape[1] ?? 1;
    for (let row = 0; row < targets.data.length; row++) {
      const target = targets.data[row] ?? 0;
      if (target === ignoreIndex) continue;
      for (let v = 0; v < V; v++) {
        const probability = Math.exp((logits.data[row * V + v] ?? 0) - (lse.data[row] ?? 0));
        const wanted = labelSmoothing / V + (v === target ? 1 - labelSmoothing : 0);
        output.data[row * V + v] = (probability - wanted) * (g.data[row] ?? 0);
      }
    }
  },
  kernels: {
    wasm({ inputs: [logits], params }, features) {
      const rows = rowShapeOf(logits);
      return rows && crossEntropyGradKernel({ ...rows, ...params }, features);
    },
    wgsl: ({ inputs: [logits], params }) => logits && crossEntropyGradWgsl(logits, params),
  },
});

export interface CrossEntropyOptions {
  /** Targets with this value do not count; default -100. */
  readonly ignoreIndex?: number;
  /** Part of the target's probability that is spread over all classes, 0..1; default 0. */
  readonly labelSmoothing?: number;
  /** "mean" over the targets that count (default), "sum", or "none" for one loss per target. */
  readonly reduction?: "mean" | "sum" | "none";
}

/**
 * Negative log-likelihood of the target class under softmax(logits), in nats.
 *
 * Shapes: logits [.., V] float, targets [..] i32 -> [] or, with reduction "none", [..].
 * Rows whose target is `ignoreIndex` give 0. With label smoothing e the target distribution is (1 - e) one-hot + e / V.
 * @returns a new tensor that the caller owns; "mean" over no target at all is NaN, as in PyTorch
 * @throws HeddleError "shape" if the leading axes differ, "dtype" if targets are not i32
 */
export function crossEntropy(logits: Tensor, targets: Tensor, options: CrossEntropyOptions = {}): Tensor {
  const { ignoreIndex = -100, labelSmoothing = 0, reduction = "mean" } = options;
  const classes = logits.shape.at(-1) ?? 0;
  const lead = logits.shape.slice(0, -1);
  if (lead.length !== targets.shape.length || lead.some((n, axis) => n !== targets.shape[axis])) {
    throw new HeddleError(
      "shape",
      `crossEntropy: targets must have the shape of the logits without the last axis; got logits ${formatType(logits)}, targets ${formatType(targets)}. Reshape the targets to [${lead.join(", ")}].`,
      { logits: logits.shape, targets: targets.shape },
    );
  }
  if (targets.dtype !== "i32") {
    throw new HeddleError(
      "dtype",
      `crossEntropy: targets must be i32 class numbers; got ${formatType(targets)}. Convert them with \`.cast("i32")\`.`,
      { dtype: targets.dtype },
    );
  }
  return scope(logits.device, () => {
    const rows = sizeOf(lead);
    const half = isHalf(logits.dtype);
    const flat = (half ? logits.cast("f32") : logits).reshape([rows, classes]);
    const flatTargets = targets.reshape([rows]);
    const loss = crossEntropyOp.apply([flat, flatTargets], { ignoreIndex, labelSmoothing })[0] as Tensor;
    if (reduction === "none") return loss.reshape(lead);
    const total = loss.sum();
    if (reduction === "sum") return total;
    return total.div(elementwise("notEqual", flatTargets, ignoreIndex).cast(flat.dtype).sum());
  });
}
