// Models in the Llama 3.2 1B shape with random weights, for programs that measure.
import type { WebGpuDevice } from "@heddle/gpu";
import { type DecoderConfig, type DecoderWeights, parseConfig } from "@heddle/models";
import { ones, randn, type Tensor } from "@heddle/tensor";
import { buildWeights } from "../../../../packages/models/src/weights.ts";
import { fileLayout, randomQuant } from "./random-quant.ts";

/** What matrices are stored in. */
const allFormats = ["f16", "int8", "int4"] as const;
export type Format = (typeof allFormats)[number];

/** The models that a program's words ask for: formats by name (all without one), `--layers N` instead of 16, `--tiny`. */
export function wantedModels(words: readonly string[]): {
  readonly config: DecoderConfig;
  readonly formats: readonly Format[];
  readonly isTiny: boolean;
} {
  const named = allFormats.filter((format) => words.includes(format));
  const isTiny = words.includes("--tiny");
  const layersAt = words.indexOf("--layers");
  const numLayers = layersAt < 0 ? 16 : Number(words[layersAt + 1]);
  return {
    config: llamaConfig({ isTiny, numLayers }),
    formats: named.length > 0 ? named : allFormats,
    isTiny,
  };
}

/** The shape; `isTiny` takes a small model instead. */
function llamaConfig({
  isTiny,
  numLayers,
}: {
  readonly isTiny: boolean;
  readonly numLayers: number;
}): DecoderConfig {
  return parseConfig({
    model_type: "llama",
    architectures: ["LlamaForCausalLM"],
    vocab_size: isTiny ? 1024 : 128256,
    hidden_size: isTiny ? 256 : 2048,
    intermediate_size: isTiny ? 512 : 8192,
    num_hidden_layers: numLayers,
    num_attention_heads: isTiny ? 4 : 32,
    num_key_value_heads: isTiny ? 1 : 8,
    head_dim: 64,
    max_position_embeddings: 8192,
    rms_norm_eps: 1e-5,
    rope_theta: 500000,
    hidden_act: "silu",
    tie_word_embeddings: true,
    bos_token_id: 0,
    eos_token_id: 1,
  }) as DecoderConfig;
}

/** Weights of small random numbers, matrices in the wanted format. */
export function randomWeights(device: WebGpuDevice, config: DecoderConfig, format: Format): DecoderWeights {
  let seed = 0;
  return buildWeights(config, (_path, shape) => {
    seed++;
    if (shape.length === 1) return ones(device, shape, { dtype: format === "f16" ? "f16" : "f32" });
    const [outFeatures = 0, inFeatures = 0] = shape;
    if (format === "f16") return randomHalves(device, outFeatures, { inFeatures, seed });
    const layout = fileLayout(format === "int4" ? 4 : 8, { outFeatures, inFeatures });
    const scale = format === "int4" ? 0.004 : 0.0003;
    return randomQuant(device, layout, { scale, seed: 1 }) as unknown as Tensor;
  });
}

/** Random rows, made on the host and so repeated: making a billion numbers takes longer than all measurements. */
function randomHalves(
  device: WebGpuDevice,
  rows: number,
  { inFeatures, seed }: { readonly inFeatures: number; readonly seed: number },
) {
  const some = Math.min(rows, 64);
  const block = randn(device, [1, some, inFeatures], { seed, dtype: "f32" }).mul(0.02).cast("f16");
  return block.broadcastTo([rows / some, some, inFeatures]).reshape([rows, inFeatures]);
}
