import {
  allOf,
  attentionWeights,
  causal,
  type HeatMap,
  heatMaps,
  type Mask,
  slidingWindow,
} from "@heddle/attention";
import { type Device, HeddleError, scope, type Tensor, tensor, writeInto, zeros } from "@heddle/tensor";
import { type Attend, type AttendInputs, asHeads, distanceBias, fullAttend } from "../blocks/attend.js";
import type { DecoderConfig } from "../config.js";
import { decoderHidden } from "../decoder/decoder.js";
import type { DecoderWeights } from "../weights.js";

/**
 * Runs a text through a decoder and gives the attention weights of one layer: a map for each head, row = token, column = token that it
 * attends to. Rows sum to 1; what attention sinks take beside them is not shown.
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
  using pattern_BHTT = zeros(device, [1, config.numHeads, ids.length, ids.length]);
  const seen = { layer: false };
  scope(device, () => {
    const attend: Attend = (index, inputs) => {
      if (index === layer) {
        // What a layer makes ends with the layer: its pattern is written to memory of ours.
        writeInto(pattern_BHTT, patternOf(asHeads(inputs)).cast(pattern_BHTT.dtype));
        seen.layer = true;
      }
      return fullAttend()(index, inputs);
    };
    const ids_BT = tensor(device, Int32Array.from(ids), { shape: [1, ids.length] });
    return decoderHidden(config, weights, { ids: ids_BT, attend }).last;
  }).dispose();
  if (!seen.layer) {
    const message = `attentionPatterns: the layer must attend; got layer ${layer}, which does not. Choose another.`;
    throw new HeddleError("config", message, { layer });
  }
  return await heatMaps(pattern_BHTT, {
    title: "head",
    ...(labels && { rowLabels: labels, columnLabels: labels }),
  });
}

/** Softmax of a layer's scores, [1, H, T, T]. */
function patternOf({ query_BHTD, key_BGTD, scale, softcap, window, slopes }: AttendInputs): Tensor {
  const mask: Mask = window === undefined ? causal() : allOf(causal(), slidingWindow(window));
  const bias = slopes && distanceBias(slopes, query_BHTD);
  return attentionWeights(query_BHTD, key_BGTD, {
    mask,
    scale,
    ...(softcap === undefined ? {} : { softcap }),
    ...(bias === undefined ? {} : { bias }),
  });
}
