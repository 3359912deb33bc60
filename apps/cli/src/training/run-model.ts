import { type DecoderConfig, type DecoderWeights, initWeights, parseConfig } from "@heddle/models";
import { openModel, saveModelDirectory } from "@heddle/models/node";
import { type Device, HeddleError, mapTree, scope, Tensor } from "@heddle/tensor";
import type { ResolvedConfig } from "./read-config.js";
import { type RunTokenizer, tokenizerFiles } from "./run-tokenizer.js";

/** The model that a run trains; the caller disposes the weights. */
export interface RunModel {
  readonly config: DecoderConfig;
  readonly weights: DecoderWeights;
}

/** Makes a Llama of the configured shape with fresh weights, or loads a directory. */
export async function openRunModel(
  config: ResolvedConfig,
  { tokenizer, endOfText }: RunTokenizer,
  device: Device,
): Promise<RunModel> {
  const { from, create } = config.model;
  // The small steps of training would be lost in the rounding of halves.
  if (from !== undefined) return openModel(from, { device, dtype: device.defaultFloat });
  if (create === undefined)
    throw new HeddleError("config", "train: model.create must be given; got none. Add it.");
  const decoder = parseConfig({
    model_type: "llama",
    vocab_size: tokenizer.idLimit,
    hidden_size: create.modelDim,
    intermediate_size: create.ffnDim,
    num_hidden_layers: create.numLayers,
    num_attention_heads: create.numHeads,
    num_key_value_heads: create.numKvHeads ?? create.numHeads,
    head_dim: create.headDim,
    max_position_embeddings: create.maxSeqLen ?? config.batch.seqLen,
    tie_word_embeddings: create.tieEmbeddings,
    rope_theta: create.ropeTheta,
    rms_norm_eps: create.normEps,
    initializer_range: create.initializerRange,
    bos_token_id: endOfText,
    eos_token_id: endOfText,
  });
  return { config: decoder, weights: initWeights(decoder, device, { seed: config.seed }) };
}

/** Writes the trained model as a Hugging Face directory with its tokenizer. */
export async function exportRunModel(
  path: string,
  { config, weights }: RunModel,
  { dtype, tokenizer }: { readonly dtype: "f32" | "f16" | "bf16"; readonly tokenizer: RunTokenizer },
): Promise<void> {
  const narrowed: Tensor[] = [];
  const stored = scope(weights.embedding.device, () =>
    mapTree<unknown, DecoderWeights>(weights, (leaf) => (leaf instanceof Tensor ? leaf.cast(dtype) : leaf)),
  );
  mapTree<unknown, DecoderWeights>(stored, (leaf) => {
    if (leaf instanceof Tensor) narrowed.push(leaf);
    return leaf;
  });
  try {
    const { bos, eos } = config.tokens;
    const generation = { bos_token_id: bos, eos_token_id: eos.length === 1 ? eos[0] : eos };
    const files = {
      ...tokenizerFiles(tokenizer),
      "generation_config.json": `${JSON.stringify(generation, null, 2)}\n`,
    };
    await saveModelDirectory(path, { config, weights: stored }, { files });
  } finally {
    for (const tensor of narrowed) tensor.dispose();
  }
}

/** Number of weights. */
export function countWeights(weights: DecoderWeights): number {
  let total = 0;
  mapTree<unknown, DecoderWeights>(weights, (leaf) => {
    if (leaf instanceof Tensor) total += leaf.size;
    return leaf;
  });
  return total;
}
