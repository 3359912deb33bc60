import { type HeatMap, heatMaps } from "@heddle/attention";
import { type Device, disposeTree, HeddleError, invariant, scope, tensor } from "@heddle/tensor";
import type { DecoderConfig } from "../config.js";
import { decoderHidden } from "../decoder/decoder.js";
import type { DecoderWeights } from "../weights.js";

/**
 * Runs a text through a decoder and gives the attention weights of one layer: a map for each head, row = token, column = token that it
 * attends to. Rows sum to 1, less what attention sinks take.
 *
 * Memory T T x heads for the one layer. Nothing is kept on the device.
 * @param ids           token ids of the text
 * @param options.layer  which layer, 0 for the first
 * @returns plain data, head after head, for `heatMapSvg`
 * @throws HeddleError "config" for a layer that the model does not have, or no ids
 */
export async function attentionPatterns(
  model: { readonly config: DecoderConfig; readonly weights: DecoderWeights; readonly device: Device },
  ids: ArrayLike<number>,
  { layer, labels }: { readonly layer: number; readonly labels?: readonly string[] },
): Promise<HeatMap[]> {
  const { config, weights, device } = model;
  if (!Number.isInteger(layer) || layer < 0 || layer >= config.numLayers) {
    const message = `attentionPatterns: layer must be a whole number below ${config.numLayers}; got layer ${layer}. Layers are counted from 0.`;
    throw new HeddleError("config", message, { layer, numLayers: config.numLayers });
  }
  if (ids.length === 0) {
    const message = "attentionPatterns: there must be a token; got 0 ids. Pass the ids of a text.";
    throw new HeddleError("config", message, { ids: 0 });
  }
  const inspect = { keep: ["pattern"], layers: [layer] } as const;
  const activations = scope(device, () => {
    const ids_BT = tensor(device, Int32Array.from(ids), { shape: [1, ids.length] });
    return decoderHidden(config, weights, { ids: ids_BT, inspect }).activations ?? {};
  });
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
