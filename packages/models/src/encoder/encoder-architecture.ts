import { disposeTree, HeddleError, scope } from "@heddle/tensor";
import type { Architecture, ModelParts, TokenRows } from "../architecture.js";
import { activationsOf } from "../inspection/inspect.js";
import { checkIds, checkLength, tokenGrid } from "../token-grid.js";
import type { EncoderConfig } from "./config.js";
import { type EncoderInputs, encoderHidden, encoderLogits } from "./encoder.js";
import { buildEncoderWeights, type EncoderWeights } from "./weights.js";

/** Encoders: every token sees every other; they predict masked tokens or classes, or give vectors of texts. */
export const encoder: Architecture<EncoderConfig, EncoderWeights, EncoderInputs> = {
  name: "encoder",
  buildWeights: buildEncoderWeights,
  forward: ({ config, weights }, inputs) => encoderLogits(config, weights, inputs),
  logits(model, rows) {
    const inputs = encoderInputs(model, rows);
    try {
      return encoderLogits(model.config, model.weights, inputs);
    } finally {
      inputs.dispose();
    }
  },
  inspect(model, rows, inspect) {
    const { dispose, ...inputs } = encoderInputs(model, rows);
    try {
      return activationsOf(model.device, () =>
        encoderHidden(model.config, model.weights, { ...inputs, inspect }),
      );
    } finally {
      dispose();
    }
  },
  hidden(model, rows) {
    const inputs = encoderInputs(model, rows);
    try {
      return encoderHidden(model.config, model.weights, inputs).last;
    } finally {
      inputs.dispose();
    }
  },
};

/**
 * Uploads token rows for an encoder.
 *
 * @returns inputs whose tensors `dispose` frees
 * @throws HeddleError "shape", "config" or "capacity" for rows that the model cannot take
 */
export function encoderInputs(
  { config, device }: Pick<ModelParts<EncoderConfig>, "config" | "device">,
  { ids, attentionMask, tokenTypeIds }: TokenRows,
): EncoderInputs & { dispose(): void } {
  checkIds(ids, config.vocabSize);
  if (config.inputs.positions !== "none") checkLength(ids, config.maxSeqLen);
  if (tokenTypeIds !== undefined) checkTypes(config, tokenTypeIds);
  const like = { like: ids };
  const inputs = scope(device, () => ({
    ids: tokenGrid(device, ids),
    ...(attentionMask === undefined
      ? {}
      : { mask: tokenGrid(device, attentionMask, { ...like, dtype: "bool" }) }),
    ...(tokenTypeIds === undefined ? {} : { typeIds: tokenGrid(device, tokenTypeIds, like) }),
  }));
  return { ...inputs, dispose: () => disposeTree(inputs) };
}

function checkTypes(
  { inputs: { numTypes }, family }: EncoderConfig,
  rows: readonly ArrayLike<number>[],
): void {
  const most = Math.max(...rows.flatMap((row) => Array.from(row)));
  if (most < Math.max(numTypes, 1)) return;
  const message = `logits: token types of a ${family} model must be below ${Math.max(numTypes, 1)}; got ${most}. Leave tokenTypeIds out.`;
  throw new HeddleError("config", message, { most, numTypes });
}
