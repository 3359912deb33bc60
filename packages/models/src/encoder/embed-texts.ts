import { HeddleError, scope, type Tensor } from "@heddle/tensor";
import { findFamily } from "../families/registry.js";
import type { AnyModel } from "../loading/load-model.js";
import { tokenGrid } from "../token-grid.js";
import { type Pooling, pool, unitLength } from "./pooling.js";

export interface EmbedTextsOptions {
  /** How one vector is made of a text's tokens; it must be what the model was trained with. Default "mean". */
  readonly pooling?: Pooling;
  /** Scale vectors to length 1, so that their product is the cosine of their angle. Default true. */
  readonly isNormalized?: boolean;
  /** Longer texts are cut to so many tokens, their last token kept. Default: the model's longest sequence. */
  readonly maxTokens?: number;
  /** Texts that are computed together. Default 16. */
  readonly batchSize?: number;
}

/**
 * Makes a vector of each text: close in direction where texts mean the same, if the model was trained for that.
 *
 * Works with encoders, with the encoder of an encoder-decoder, and with decoders (usually pooled by "last"). A text's vector does not
 * depend on the texts beside it.
 * @returns one vector of the model's width a text, in order
 * @throws HeddleError "config" for a model without a tokenizer or a text without tokens; "unsupported" for a model that gives no
 *   hidden states of text
 * @see Reimers and Gurevych 2019, Sentence-BERT, arXiv:1908.10084
 */
export async function embedTexts(
  model: AnyModel,
  texts: readonly string[],
  options: EmbedTextsOptions = {},
): Promise<Float32Array[]> {
  const { batchSize = 16, maxTokens = model.config.maxSeqLen } = options;
  const rows = texts.map((text) => tokensOf(model, text, maxTokens));
  const vectors: Float32Array[] = [];
  for (let from = 0; from < rows.length; from += batchSize) {
    using pooled = embedRows(model, rows.slice(from, from + batchSize), options);
    const values = Float32Array.from(await pooled.data());
    const width = pooled.shape[1] ?? 0;
    for (let at = 0; at < values.length; at += width) vectors.push(values.slice(at, at + width));
  }
  return vectors;
}

/** Vectors of token rows of any lengths, [B, E]. */
function embedRows(
  { family, config, weights, device }: AnyModel,
  rows: readonly Int32Array[],
  { pooling = "mean", isNormalized = true }: EmbedTextsOptions,
): Tensor {
  const { architecture } = findFamily(family);
  const { hidden } = architecture;
  if (hidden === undefined) {
    const message = `embedTexts: the model must give hidden states of text; got family "${family}" of architecture "${architecture.name}". Use an encoder.`;
    throw new HeddleError("unsupported", message, { family, architecture: architecture.name });
  }
  const longest = Math.max(...rows.map((row) => row.length));
  const padId = config.tokens.pad ?? 0;
  const ids = rows.map((row) => Array.from({ length: longest }, (_, at) => row[at] ?? padId));
  const attentionMask = rows.map((row) =>
    Array.from({ length: longest }, (_, at) => (at < row.length ? 1 : 0)),
  );
  return scope(device, () => {
    const states = hidden({ config, weights, device }, { ids, attentionMask });
    const vectors = pool(states, pooling, tokenGrid(device, attentionMask, { dtype: "bool" }));
    return isNormalized ? unitLength(vectors) : vectors;
  });
}

function tokensOf({ tokenizer, family }: AnyModel, text: string, maxTokens: number): Int32Array {
  if (tokenizer === undefined) {
    const message = `embedTexts: the model needs a tokenizer; got a ${family} model without one. Put tokenizer.json into its directory.`;
    throw new HeddleError("config", message, { family });
  }
  const ids = tokenizer.encodeIds(text);
  if (ids.length === 0) {
    const message = `embedTexts: a text must have at least one token; got ${JSON.stringify(text)}. Leave it out.`;
    throw new HeddleError("config", message, { text });
  }
  if (ids.length <= maxTokens) return ids;
  return Int32Array.of(...ids.subarray(0, maxTokens - 1), ids.at(-1) ?? 0);
}
