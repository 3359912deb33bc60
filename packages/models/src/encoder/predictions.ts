import { HeddleError, invariant, linear, type Tensor, tanh } from "@heddle/tensor";
import { activate } from "../blocks/mlp.js";
import { normalize } from "../blocks/norm.js";
import { project } from "../blocks/project.js";
import type { EncoderConfig } from "./config.js";
import { pool } from "./pooling.js";
import type { EncoderWeights } from "./weights.js";

/**
 * What the model says of its last hidden states.
 *
 * Shapes: hidden [B, T, E], mask [B, T] bool -> tokens [B, T, V], classes of texts [B, C] or of tokens [B, T, C].
 * @throws HeddleError "unsupported" for a model without predictions
 */
export function predict(
  config: EncoderConfig,
  weights: EncoderWeights,
  { hidden, mask }: { readonly hidden: Tensor; readonly mask?: Tensor | undefined },
): Tensor {
  const { predictions, family } = config;
  if (predictions.kind === "none") {
    const message = `logits: the model must predict something; got a ${family} model of hidden states only. Use encoderHidden or embedTexts, or load a checkpoint with a head.`;
    throw new HeddleError("unsupported", message, { family });
  }
  const { transform, transformNorm, classes, unembedding, bias } = weights.predictions ?? {};
  const activated = (x: Tensor, activation: "tanh" | Parameters<typeof activate>[0]): Tensor => {
    if (transform === undefined) return x;
    const wide = project(transform, x);
    const bent = activation === "tanh" ? tanh(wide) : activate(activation, wide);
    return transformNorm === undefined ? bent : normalize(config.norm, transformNorm, bent);
  };
  if (predictions.kind === "tokens")
    return linear(activated(hidden, predictions.activation), unembedding ?? weights.embedding, bias);
  invariant(classes, "a classifier has classes");
  const text = represent(predictions.of, hidden, mask);
  return project(classes, activated(text, predictions.transform?.activation ?? "relu"));
}

function represent(of: "first" | "mean" | "tokens", hidden: Tensor, mask: Tensor | undefined): Tensor {
  return of === "tokens" ? hidden : pool(hidden, of, mask);
}
