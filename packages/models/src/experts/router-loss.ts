import { concat, HeddleError, oneHot, scope, type Tensor, topK } from "@heddle/tensor";

/**
 * Load-balancing loss: X sum over experts of (share of tokens that chose it) (mean probability), over all layers at once. It is
 * `topK` where all are equally loaded.
 *
 * Shapes: each of logits [N, X] -> []; mask [N], 1 for tokens and 0 for padding. Differentiable through the probabilities.
 * @param options.topK  experts of a token; 1 gives the loss of Switch Transformer
 * @returns a new tensor that the caller disposes
 * @see Fedus et al. 2021, arXiv:2101.03961, equations 4 to 6. Same as transformers' `load_balancing_loss_func`
 */
export function loadBalancingLoss(
  logits: readonly Tensor[],
  { topK: count, mask }: { readonly topK: number; readonly mask?: Tensor },
): Tensor {
  const [first] = logits;
  if (first === undefined) {
    const message =
      "loadBalancingLoss: there must be the logits of at least one router; got none. Ask a model with experts for them.";
    throw new HeddleError("shape", message, {});
  }
  return scope(first.device, () => {
    const [, numExperts = 1] = first.shape;
    const probabilities_MX = concat(logits, { axis: 0 }).softmax();
    const chosen_MX = oneHot(topK(probabilities_MX, count).indices, numExperts).sum({ axes: 1 });
    const mask_M = mask && concat(Array<Tensor>(logits.length).fill(mask), { axis: 0 });
    const share_X = meanOfTokens(chosen_MX.detach(), mask_M);
    return share_X.mul(meanOfTokens(probabilities_MX, mask_M)).sum().mul(numExperts);
  });
}

function meanOfTokens(x_MX: Tensor, mask_M: Tensor | undefined): Tensor {
  if (mask_M === undefined) return x_MX.mean({ axes: 0 });
  const kept_M1 = mask_M.cast(x_MX.dtype).expandDims(1);
  return x_MX.mul(kept_M1).sum({ axes: 0 }).div(kept_M1.sum());
}

/**
 * Router z-loss: the mean square of log sum exp of each token's logits, which keeps them small.
 *
 * Shapes: logits [N, X] -> [].
 * @returns a new tensor that the caller disposes
 * @see Zoph et al. 2022, ST-MoE, arXiv:2202.08906, equation 5
 */
export function routerZLoss(logits_NX: Tensor): Tensor {
  return scope(logits_NX.device, () => logits_NX.logsumexp({ axes: -1 }).square().mean());
}
