import { HeddleError, scope, softmax, type Tensor, topK, where } from "@heddle/tensor";
import type { AttentionOptions } from "./attention.js";
import { wholeBias } from "./distance-bias.js";
import { bindMask, checkExtents } from "./mask-rule.js";
import { seenKeys } from "./mask-sees.js";
import { groupedMatmul, naiveScores } from "./naive.js";

// Kinds of attention that need the whole matrix of weights: memory B H T S. Compositions of ops, differentiable.

type DenseOptions = Omit<AttentionOptions, "sinks">;

/**
 * The weights themselves, softmax(scale q k^T) under the mask: what attention maps show.
 *
 * Shapes: query [B, H, T, D], key [B, G, S, D] -> [B, H, T, S]. Rows that see nothing are zeros. Memory B H T S. Differentiable.
 * @returns a new tensor that the caller disposes
 * @throws HeddleError "shape" if the mask does not fit
 * @see Vaswani et al. 2017, arXiv:1706.03762, section 3.2.1 (equation 1, without the product with V)
 */
export function attentionWeights(query: Tensor, key: Tensor, options: DenseOptions = {}): Tensor {
  return scope(query.device, () => {
    const { scores, sees } = denseScores(query, key, options);
    return maskedSoftmax(scores, sees);
  });
}

/**
 * Talking heads: scores of all heads are mixed before the softmax, and weights after it.
 *
 * Shapes: query [B, H, T, D], key [B, G, S, D], value [B, G, S, Dv], beforeSoftmax and afterSoftmax [H, H], row = resulting head
 * -> [B, H, T, Dv]. Memory B H T S. Differentiable in all.
 * @returns a new tensor that the caller disposes
 * @throws HeddleError "shape" if a mixing matrix is not [H, H]
 * @see Shazeer et al. 2020, Talking-Heads Attention, arXiv:2003.02436, section 3 (P_l transposed, P_w transposed)
 */
export function talkingHeadsAttention(
  { query, key, value }: { readonly query: Tensor; readonly key: Tensor; readonly value: Tensor },
  {
    beforeSoftmax,
    afterSoftmax,
    ...options
  }: DenseOptions & { readonly beforeSoftmax: Tensor; readonly afterSoftmax: Tensor },
): Tensor {
  const numHeads = query.shape[1] ?? 0;
  for (const [name, { shape }] of Object.entries({ beforeSoftmax, afterSoftmax })) {
    if (shape.length === 2 && shape[0] === numHeads && shape[1] === numHeads) continue;
    throw new HeddleError(
      "shape",
      `talkingHeadsAttention: ${name} must be [${numHeads}, ${numHeads}], heads by heads; got ${name} [${shape.join(", ")}]. Pass the identity to mix nothing.`,
      { [name]: shape, numHeads },
    );
  }
  return scope(query.device, () => {
    const { scores, sees } = denseScores(query, key, options);
    const weights = maskedSoftmax(mixHeads(scores, beforeSoftmax), sees);
    return groupedMatmul(mixHeads(weights, afterSoftmax), value);
  });
}

/** y[b, h] = sum over g of mix[h, g] x[b, g]. */
function mixHeads(x: Tensor, mix: Tensor): Tensor {
  const [batch = 0, numHeads = 0, queryLen = 0, keyLen = 0] = x.shape;
  return mix
    .matmul(x.reshape([batch, numHeads, queryLen * keyLen]))
    .reshape([batch, numHeads, queryLen, keyLen]);
}

/**
 * Explicit sparse attention: each query keeps its `topK` greatest scores.
 *
 * Shapes: query [B, H, T, D], key [B, G, S, D], value [B, G, S, Dv] -> [B, H, T, Dv]. Scores equal to the last one kept stay, too.
 * Memory B H T S. Differentiable (the choice is not).
 * @returns a new tensor that the caller disposes
 * @throws HeddleError "config" if topK is not a whole number above 0
 * @see Zhao et al. 2019, Explicit Sparse Transformer, arXiv:1912.11637, section 2.2
 */
export function topKAttention(
  { query, key, value }: { readonly query: Tensor; readonly key: Tensor; readonly value: Tensor },
  { topK: count, ...options }: DenseOptions & { readonly topK: number },
): Tensor {
  if (!(Number.isInteger(count) && count > 0)) {
    throw new HeddleError(
      "config",
      `topKAttention: topK must be a whole number above 0; got topK ${count}. Use attention() to keep every score.`,
      { topK: count },
    );
  }
  const keyLen = key.shape[2] ?? 0;
  return scope(query.device, () => {
    const { scores, sees } = denseScores(query, key, options);
    const seen = sees === undefined ? scores : where(sees, scores, lowest);
    const kept = topK(seen.detach(), Math.min(count, keyLen)).values;
    const least = kept.narrow(3, kept.shape[3] === undefined ? 0 : kept.shape[3] - 1, kept.shape[3] ?? 1);
    const isKept = seen.greaterEqual(least);
    return groupedMatmul(maskedSoftmax(scores, sees === undefined ? isKept : isKept.logicalAnd(sees)), value);
  });
}

const lowest = -1e30;

function denseScores(
  query: Tensor,
  key: Tensor,
  { mask, distanceBias, softcap, scale = 1 / Math.sqrt(query.shape[3] ?? 1), ...rules }: DenseOptions,
): { readonly scores: Tensor; readonly sees: Tensor | undefined } {
  const [batch = 0, numHeads = 0, queryLen = 0] = query.shape;
  const extents = { batch, numHeads, queryLen, keyLen: key.shape[2] ?? 0 };
  const { rule, inputs } = bindMask(mask, extents);
  if (distanceBias !== undefined)
    checkExtents("distanceBias", distanceBias, [[numHeads, 1], [queryLen + extents.keyLen - 1]]);
  const bias = wholeBias({ bias: rules.bias, distanceBias }, extents);
  return {
    scores: naiveScores(query, key, { scale, softcap, bias }),
    sees: rule && seenKeys(query.device, rule, { inputs, extents }),
  };
}

/** Softmax over the seen keys; zeros where none is seen. */
function maskedSoftmax(scores: Tensor, sees: Tensor | undefined): Tensor {
  if (sees === undefined) return softmax(scores);
  return where(sees, softmax(where(sees, scores, lowest)), 0);
}
