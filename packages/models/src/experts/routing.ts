import { gather, invariant, oneHot, type Tensor, topK, where } from "@heddle/tensor";
import type { ExpertsConfig } from "../config.js";

/** Who computes each token, and how much each counts. */
export interface Routes {
  /** Experts of each token, [N, K] i32. */
  readonly experts_NK: Tensor;
  /** [N, K] */
  readonly weights_NK: Tensor;
}

/**
 * Chooses K of X experts for each token by the router's logits.
 *
 * Shapes: logits [N, X], choiceBias [X] -> [N, K] twice.
 * @see Shazeer et al. 2017, arXiv:1701.06538, section 2; Jiang et al. 2024 (Mixtral), arXiv:2401.04088, section 2.1;
 *   DeepSeek-AI 2024, arXiv:2412.19437, equations 12 to 16 (sigmoid, choice bias, groups)
 */
export function route(
  { topK: count, routing }: Pick<ExpertsConfig, "topK" | "routing">,
  logits_NX: Tensor,
  choiceBias_X?: Tensor,
): Routes {
  const scores_NX = scoresOf(routing.scores, logits_NX);
  const biased_NX = choiceBias_X === undefined ? scores_NX : scores_NX.add(choiceBias_X);
  const choices_NX = routing.groups === undefined ? biased_NX : withinGroups(routing.groups, biased_NX);
  const experts_NK = topK(choices_NX, count).indices;
  const chosen_NK = gather(scores_NX, experts_NK);
  const weighed_NK = routing.scores === "chosen" ? chosen_NK.softmax() : chosen_NK;
  const normal_NK = routing.isNormalized
    ? weighed_NK.div(weighed_NK.sum({ axes: -1, keepDims: true }).add(tiny))
    : weighed_NK;
  return { experts_NK, weights_NK: normal_NK.mul(routing.scale ?? 1) };
}

/** Keeps sums of sigmoids that all underflow from dividing by zero. */
const tiny = 1e-20;

function scoresOf(kind: ExpertsConfig["routing"]["scores"], logits: Tensor): Tensor {
  switch (kind) {
    case "softmax":
      return logits.softmax();
    case "sigmoid":
      return logits.sigmoid();
    case "chosen":
      return logits;
    default:
      return kind satisfies never;
  }
}

/** Scores of experts outside of the best groups become too low to be chosen. */
function withinGroups(
  { count, topK: kept, score }: NonNullable<ExpertsConfig["routing"]["groups"]>,
  scores_NX: Tensor,
): Tensor {
  const [numTokens = 0, numExperts = 0] = scores_NX.shape;
  const grouped = scores_NX.reshape([numTokens, count, numExperts / count]);
  const best = topK(grouped, score === "best" ? 1 : 2).values.sum({ axes: -1 }); // [N, groups]
  const least = topK(best, kept).values.narrow(1, kept - 1, kept); // the worst of the kept groups
  invariant(least.rank === 2, "one threshold a token");
  const isKept = best.greaterEqual(least).expandDims(2);
  return where(isKept, grouped, -1e30).reshape([numTokens, numExperts]);
}

/**
 * Drops what goes beyond the capacity of an expert: it takes the first `capacity` of its tokens, first choices before second
 * ones, and the weight of each further one becomes 0.
 *
 * Shapes: experts and weights [N, K] -> the same.
 * @param options.capacity  tokens that one expert takes; Switch: ceil(factor N K / X)
 * @see Lepikhin et al. 2020 (GShard), arXiv:2006.16668, section 2.2; Fedus et al. 2021 (Switch), arXiv:2101.03961, section 2.2
 */
export function dropOverflow(
  { experts_NK, weights_NK }: Routes,
  { numExperts, capacity }: { readonly numExperts: number; readonly capacity: number },
): Routes {
  const [numTokens = 0, count = 0] = experts_NK.shape;
  const byChoice_R = experts_NK.transpose([1, 0]).reshape([-1]);
  const own_RX = oneHot(byChoice_R, numExperts);
  const place_R = own_RX.cumsum({ axis: 0 }).mul(own_RX).sum({ axes: 1 }); // 1 for an expert's first token
  const fits_NK = place_R.lessEqual(capacity).reshape([count, numTokens]).transpose([1, 0]);
  return { experts_NK, weights_NK: where(fits_NK, weights_NK, 0) };
}
