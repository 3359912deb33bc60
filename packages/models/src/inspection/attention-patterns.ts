import { type HeatMap, heatMaps } from "@heddle/attention";
import { disposeTree, HeddleError, invariant } from "@heddle/tensor";
import type { ModelParts } from "../architecture.js";
import type { ModelConfig } from "../config.js";
import { inspectModel } from "./inspect-model.js";

/**
 * Runs a text through a decoder, an encoder or XLNet and gives the attention weights of one layer: a map for each head, row = token, column =
 * token that it attends to. Rows sum to 1, less what attention sinks take.
 *
 * Memory T T x heads for the one layer. Nothing is kept on the device.
 * @param ids           token ids of the text
 * @param options.layer  which layer, 0 for the first
 * @returns plain data, head after head, for `heatMapSvg`
 * @throws HeddleError "config" for a layer that the model does not have, or no ids
 */
export async function attentionPatterns(
  model: ModelParts<ModelConfig & { readonly numLayers: number }>,
  ids: ArrayLike<number>,
  { layer, labels }: { readonly layer: number; readonly labels?: readonly string[] },
): Promise<HeatMap[]> {
  const { config } = model;
  if (!Number.isInteger(layer) || layer < 0 || layer >= config.numLayers) {
    const message = `attentionPatterns: layer must be a whole number below ${config.numLayers}; got layer ${layer}. Layers are counted from 0.`;
    throw new HeddleError("config", message, { layer, numLayers: config.numLayers });
  }
  if (ids.length === 0) {
    const message = "attentionPatterns: there must be a token; got 0 ids. Pass the ids of a text.";
    throw new HeddleError("config", message, { ids: 0 });
  }
  const activations = inspectModel(model, { ids: [ids] }, { keep: ["pattern"], layers: [layer] });
  try {
    const [pattern_BHTT] = activations.pattern ?? [];
    invariant(pattern_BHTT, `layer ${layer} attends`);
    return await heatMaps(pattern_BHTT, {
      title: "head",
      ...(labels && { rowLabels: labels, columnLabels: labels }),
    });
  } finally {
    disposeTree(activations);
  }
}
