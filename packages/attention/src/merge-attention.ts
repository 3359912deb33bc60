import { HeddleError, scope, type Tensor, where } from "@heddle/tensor";
import type { AttentionWithLse } from "./attention.js";

/**
 * Merges attention over parts of the keys into attention over all of them: weights exp(lse_i - lse), lse = log sum exp(lse_i).
 *
 * Shapes: each part { out [B, H, T, Dv], lse [B, H, T] } -> the same. A part in which a row sees nothing (lse -infinity) has no
 * weight; a row that sees nothing anywhere gives zeros. Differentiable. What ring and cascade attention are made of.
 * @returns new tensors that the caller disposes
 * @throws HeddleError "config" without a part, "shape" if parts differ in shape
 * @see Dao et al. 2023, Flash-Decoding; Liu et al. 2023, Ring attention, arXiv:2310.01889
 */
export function mergeAttention(parts: readonly AttentionWithLse[]): AttentionWithLse {
  const [first] = parts;
  if (first === undefined) {
    throw new HeddleError(
      "config",
      "mergeAttention: at least one part is needed; got 0 parts. Pass the results of attentionWithLse.",
      {
        parts: 0,
      },
    );
  }
  for (const { out, lse } of parts) {
    if (String(out.shape) === String(first.out.shape) && String(lse.shape) === String(first.lse.shape))
      continue;
    throw new HeddleError(
      "shape",
      `mergeAttention: parts must have one shape; got out [${first.out.shape.join(", ")}] and [${out.shape.join(", ")}]. Attend with the same queries to each part of the keys.`,
      { first: first.out.shape, other: out.shape },
    );
  }
  return scope(first.out.device, () => {
    const seen = (lse: Tensor) => lse.greater(Number.NEGATIVE_INFINITY);
    const finite = (lse: Tensor) => where(seen(lse), lse, lowest);
    const greatest = parts
      .map(({ lse }) => finite(lse))
      .reduce((a, b) => a.maximum(b))
      .detach();
    const weights = parts.map(({ lse }) => where(seen(lse), finite(lse).sub(greatest).exp(), 0));
    const total = weights.reduce((a, b) => a.add(b));
    const isEmpty = total.equal(0);
    const divisor = where(isEmpty, 1, total);
    const column = [...first.lse.shape, 1];
    const out = parts
      .map(({ out: part }, i) => part.mul((weights[i] ?? total).div(divisor).reshape(column)))
      .reduce((a, b) => a.add(b));
    const lse = where(isEmpty, Number.NEGATIVE_INFINITY, greatest.add(divisor.log()));
    return { out, lse };
  });
}

/** Stands for -infinity in differences, which then stay numbers. */
const lowest = -1e30;
