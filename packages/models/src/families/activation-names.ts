import type { Activation } from "../config.js";

const byName = {
  silu: "silu",
  swish: "silu",
  gelu: "gelu",
  gelu_new: "gelu-tanh",
  gelu_pytorch_tanh: "gelu-tanh",
  gelu_fast: "gelu-tanh",
  relu: "relu",
} as const satisfies Record<string, Activation>;

type ActivationName = keyof typeof byName;

/** Spellings of activations in config.json. */
export const activationNames = Object.keys(byName) as [ActivationName, ...ActivationName[]];

export function activationOf(name: ActivationName): Activation {
  return byName[name];
}

/** The spelling that Hugging Face writes today. */
export function nameOfActivation(activation: Activation): ActivationName {
  return activation === "gelu-tanh" ? "gelu_new" : activation;
}
