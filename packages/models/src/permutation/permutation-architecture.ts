import { disposeTree, scope, tensor } from "@heddle/tensor";
import type { Architecture, HostArray, ModelParts, TokenRows } from "../architecture.js";
import { activationsOf } from "../inspection/inspect.js";
import { checkIds, tokenGrid } from "../token-grid.js";
import type { PermutationConfig } from "./config.js";
import { type PermutationInputs, permutationHidden, permutationLogits } from "./permutation.js";
import { buildPermutationWeights, type PermutationWeights } from "./weights.js";

/** Permutation language models: two streams, orders of factorisation, memories of earlier pieces of a text. */
export const permutation: Architecture<PermutationConfig, PermutationWeights, PermutationInputs> = {
  name: "permutation",
  buildWeights: buildPermutationWeights,
  forward: ({ config, weights }, inputs) => permutationLogits(config, weights, inputs),
  logits(model, rows) {
    const inputs = permutationInputs(model, rows);
    try {
      return permutationLogits(model.config, model.weights, inputs);
    } finally {
      disposeTree(inputs);
    }
  },
  inspect(model, rows, inspect) {
    const inputs = permutationInputs(model, rows);
    try {
      return activationsOf(model.device, () =>
        permutationHidden(model.config, model.weights, { ...inputs, inspect }),
      );
    } finally {
      disposeTree(inputs);
    }
  },
};

/** Uploads token rows; the caller disposes them. @throws HeddleError "config" or "shape" for rows that the model cannot take */
function permutationInputs(
  { config, device }: Pick<ModelParts<PermutationConfig>, "config" | "device">,
  { ids, attentionMask, tokenTypeIds, hidden, targets }: TokenRows,
): PermutationInputs {
  checkIds(ids, config.vocabSize);
  const like = { like: ids };
  const upload = ({ data, shape }: HostArray) => tensor(device, data, { shape, dtype: device.defaultFloat });
  return scope(device, () => ({
    ids: tokenGrid(device, ids),
    ...(attentionMask === undefined
      ? {}
      : { mask: tokenGrid(device, attentionMask, { ...like, dtype: "bool" }) }),
    ...(tokenTypeIds === undefined ? {} : { typeIds: tokenGrid(device, tokenTypeIds, like) }),
    ...(hidden === undefined ? {} : { hidden: upload(hidden) }),
    ...(targets === undefined ? {} : { targets: upload(targets) }),
  }));
}
