import { HeddleError } from "@heddle/tensor";
import type { ModelParts, TokenRows } from "../architecture.js";
import { findFamily } from "../families/registry.js";
import type { Activations, Inspection } from "./inspect.js";

/**
 * Reads and replaces values while token rows go through a decoder, an encoder, a recurrent model or the first stream of XLNet.
 *
 * `inspectModel(model, { ids: [[1, 2, 3]] }, { keep: ["residual"] }).residual` is the stream before each layer and after the last,
 * [B, T, E] each. For more than rows of ids, and for encoder-decoders, `inspect` is an input of `decoderHidden`, `encoderHidden`,
 * `recurrentHidden`, `permutationHidden` and `seq2seqHidden`.
 * @returns values by point, layer after layer; the caller disposes them
 * @throws HeddleError "unsupported" for a model of another architecture, "config" or "shape" for rows that it cannot take
 */
export function inspectModel(
  { config, weights, device }: ModelParts,
  rows: TokenRows,
  inspection: Inspection,
): Activations {
  const { architecture } = findFamily(config.family);
  if (architecture.inspect !== undefined)
    return architecture.inspect({ config, weights, device }, rows, inspection);
  const message = `inspectModel: the model must have one stack of layers; got a ${config.family} model of architecture "${architecture.name}". Pass \`inspect\` to seq2seqHidden.`;
  throw new HeddleError("unsupported", message, { family: config.family });
}
