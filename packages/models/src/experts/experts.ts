import { add, linear, mul, reshape, sigmoid, type Tensor } from "@heddle/tensor";
import { feedForward, gated } from "../blocks/mlp.js";
import { project } from "../blocks/project.js";
import type { ExpertsConfig, MlpConfig } from "../config.js";
import type { ExpertLinearWeights, ExpertsWeights } from "../weights.js";
import { expertLinear } from "./expert-linear.js";
import { dropOverflow, type Routes, route } from "./routing.js";

/**
 * A mixture of experts: each token passes through the experts that the router chose for it, and the shared one.
 *
 * Shapes: x [.., E] -> [.., E]. Only chosen experts are computed.
 * @see Shazeer et al. 2017, arXiv:1701.06538; Dai et al. 2024 (DeepSeekMoE: shared experts), arXiv:2401.06066
 */
export function expertsForward(
  mlp: MlpConfig,
  { weights, experts, onLogits }: ExpertsOfLayer,
  x: Tensor,
): Tensor {
  const modelDim = x.shape.at(-1) ?? 0;
  const x_NE = reshape(x, [-1, modelDim]);
  const logits_NX = project(weights.router, x_NE);
  onLogits?.(logits_NX);
  const { experts_NK, weights_NK } = routesOf(experts, logits_NX, weights.choiceBias);
  const numTokens = x_NE.shape[0] ?? 0;
  const expert_R = experts_NK.reshape([-1]);
  const x_RE = x_NE.expandDims(1).broadcastTo([numTokens, experts.topK, modelDim]).reshape([-1, modelDim]);
  const through = (part: ExpertLinearWeights, rows: Tensor) => expertLinear(rows, part, expert_R);
  const hidden_RF = gated(mlp, through(weights.gate, x_RE), through(weights.up, x_RE));
  const out_NKE = through(weights.down, hidden_RF).reshape([numTokens, experts.topK, modelDim]);
  const routed_NE = mul(out_NKE, weights_NK.expandDims(2)).sum({ axes: 1 });
  return reshape(addShared(mlp, weights, { x_NE, routed_NE }), x.shape);
}

export interface ExpertsOfLayer {
  readonly weights: ExpertsWeights;
  readonly experts: ExpertsConfig;
  /** Is shown the router's logits [N, X], for losses that balance the load. */
  readonly onLogits?: ((logits_NX: Tensor) => void) | undefined;
}

function routesOf(experts: ExpertsConfig, logits_NX: Tensor, choiceBias?: Tensor): Routes {
  const routes = route(experts, logits_NX, choiceBias);
  const { capacityFactor, numExperts, topK } = experts;
  if (capacityFactor === undefined) return routes;
  const capacity = Math.ceil((capacityFactor * (logits_NX.shape[0] ?? 0) * topK) / numExperts);
  return dropOverflow(routes, { numExperts, capacity });
}

function addShared(
  mlp: MlpConfig,
  { shared, sharedGate }: ExpertsWeights,
  { x_NE, routed_NE }: { readonly x_NE: Tensor; readonly routed_NE: Tensor },
): Tensor {
  if (shared === undefined) return routed_NE;
  const out_NE = feedForward(mlp, shared, x_NE);
  if (sharedGate === undefined) return add(routed_NE, out_NE);
  return add(routed_NE, mul(out_NE, sigmoid(linear(x_NE, sharedGate.weight))));
}
