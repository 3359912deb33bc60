import { add, clamp, gelu, mul, relu, sigmoid, silu, swiGLU, type Tensor } from "@heddle/tensor";
import type { Activation, MlpConfig } from "../config.js";
import type { MlpWeights } from "../weights.js";
import { project } from "./project.js";

/**
 * The feed-forward block: down(activation(up(x))), or gated: down(activation(gate(x)) up(x)).
 *
 * Shapes: x [.., E] -> [.., E].
 * @see Shazeer 2020, GLU Variants Improve Transformer, arXiv:2002.05202
 */
export function feedForward(mlp: MlpConfig, { gate, up, down }: MlpWeights, x: Tensor): Tensor {
  const up_F = project(up, x);
  if (gate === undefined) return project(down, activate(mlp.activation, up_F));
  return project(down, gated(mlp, project(gate, x), up_F));
}

/** activation(gate) up, or the clamped form of gpt-oss. Shapes: gate and up [.., F] -> [.., F]. */
export function gated({ activation, clamp: limits }: MlpConfig, gate: Tensor, up: Tensor): Tensor {
  if (limits !== undefined) {
    const { limit, alpha } = limits;
    const open = clamp(gate, { max: limit });
    const value = add(clamp(up, { min: -limit, max: limit }), 1);
    return mul(value, mul(open, sigmoid(mul(open, alpha))));
  }
  return activation === "silu" ? swiGLU(gate, up) : mul(activate(activation, gate), up);
}

export function activate(activation: Activation, x: Tensor): Tensor {
  switch (activation) {
    case "silu":
      return silu(x);
    case "gelu":
      return gelu(x, { approximate: "none" });
    case "gelu-tanh":
      return gelu(x, { approximate: "tanh" });
    case "relu":
      return relu(x);
    default:
      return activation satisfies never;
  }
}
