import { disposeTree, tensor } from "@heddle/tensor";
import type { Architecture, HostArray } from "../architecture.js";
import { checkIds, tokenGrid } from "../token-grid.js";
import type { PermutationConfig } from "./config.js";
import { type PermutationInputs, permutationLogits } from "./permutation.js";
import { buildPermutationWeights, type PermutationWeights } from "./weights.js";

/** Permutation language models: two streams, orders of factorisation, memories of earlier pieces of a text. */
export const permutation: Architecture<PermutationConfig, PermutationWeights, PermutationInputs> = {
  name: "permutation",
  buildWeights: buildPermutationWeights,
  forward: ({ config, weights }, inputs) => permutationLogits(config, weights, inputs),
  logits({ config, weights, device }, { ids, attentionMask, tokenTypeIds, hidden, targets }) {
    checkIds(ids, config.vocabSize);
    const like = { like: ids };
    const upload = ({ data, shape }: HostArray) =>
      tensor(device, data, { shape, dtype: device.defaultFloat });
    const inputs = {
      ids: tokenGrid(device, ids),
      ...(attentionMask === undefined
        ? {}
        : { mask: tokenGrid(device, attentionMask, { ...like, dtype: "bool" }) }),
      ...(tokenTypeIds === undefined ? {} : { typeIds: tokenGrid(device, tokenTypeIds, like) }),
      ...(hidden === undefined ? {} : { hidden: upload(hidden) }),
      ...(targets === undefined ? {} : { targets: upload(targets) }),
    };
    try {
      return permutationLogits(config, weights, inputs);
    } finally {
      disposeTree(inputs);
    }
  },
};
