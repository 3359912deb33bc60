import { type FileSource, memorySink, memorySource } from "@heddle/checkpoints";
import { disposeTree, randn, reference, scope } from "@heddle/tensor";
import type { AnyFamily } from "../src/families/family.js";
import { findFamily } from "../src/families/registry.js";
import { parseModelConfig } from "../src/loading/parse-config.js";
import { saveModel } from "../src/loading/save-model.js";

const llamaShape = {
  vocab_size: 40,
  hidden_size: 32,
  intermediate_size: 40,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  rms_norm_eps: 1e-5,
};

/** Small models of the forms for which Hugging Face gives no golden data, by their `config.json`. */
export const madeConfigs: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  "Baichuan 7B": { ...llamaShape, model_type: "baichuan", max_position_embeddings: 32 },
  "Baichuan 13B": { ...llamaShape, model_type: "baichuan", model_max_length: 32 },
  DeciLM: { ...llamaShape, model_type: "deci", num_key_value_heads_per_layer: [4, 1] },
  BloombergGPT: {
    model_type: "bloom",
    vocab_size: 40,
    hidden_size: 40,
    n_layer: 2,
    n_head: 5,
    seq_length: 32,
  },
  ChatGLM: {
    model_type: "chatglm",
    vocab_size: 40,
    hidden_size: 32,
    inner_hidden_size: 48,
    num_layers: 2,
    num_attention_heads: 4,
    max_sequence_length: 32,
    // A prompt of [3, 17, 5, 8] is a context of three tokens, the last one a mark, and a start.
    bos_token_id: 8,
    eos_token_id: 39,
    gmask_token_id: 5,
    mask_token_id: 6,
  },
  RetNet: {
    model_type: "retnet",
    vocab_size: 40,
    decoder_embed_dim: 36,
    decoder_value_embed_dim: 48,
    decoder_ffn_embed_dim: 40,
    decoder_layers: 2,
    decoder_retention_heads: 3,
    activation_fn: "swish",
    layernorm_embedding: true,
    no_scale_embedding: false,
  },
};

/** A model's directory with every weight drawn at random, in f32. */
export async function madeFiles(
  json: Readonly<Record<string, unknown>>,
): Promise<Readonly<Record<string, Uint8Array>>> {
  const device = reference();
  const config = parseModelConfig(json);
  const { architecture }: AnyFamily = findFamily(config.family);
  let seed = 0;
  const weights = architecture.buildWeights(config, (path, shape) =>
    scope(device, () => {
      const drawn = randn(device, shape, { seed: ++seed, dtype: "f32" });
      if (shape.length > 1) return drawn.mul(0.3);
      return drawn.mul(0.2).add(path.endsWith("bias") ? 0 : 1);
    }),
  );
  const sink = memorySink();
  await saveModel(sink, { config, weights });
  disposeTree(weights);
  device.dispose();
  return sink.files;
}

/** The same to load from. */
export async function madeSource(json: Readonly<Record<string, unknown>>): Promise<FileSource> {
  return memorySource(await madeFiles(json));
}
