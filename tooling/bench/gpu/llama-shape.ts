// Models in the Llama 3.2 1B shape with random weights, for programs that measure.
import type { WebGpuDevice } from "@heddle/gpu";
import { type DecoderConfig, type DecoderWeights, parseConfig } from "@heddle/models";
import { partTypes, type QuantLayout, quantFromParts } from "@heddle/quant";
import { fromBytes, ones, randn, type Tensor, zeros } from "@heddle/tensor";
import { buildWeights } from "../../../packages/models/src/weights.ts";

/** What matrices are stored in. */
export type Format = "f16" | "int8" | "int4";

/** The shape; `isTiny` takes a small model instead. */
export function llamaConfig({
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
    return randomQuant(device, format === "int4" ? 4 : 8, { outFeatures, inFeatures }) as unknown as Tensor;
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

/** Random codes with the scales of a Q4_0 or Q8_0 file. */
function randomQuant(
  device: WebGpuDevice,
  bits: 4 | 8,
  extents: Pick<QuantLayout, "outFeatures" | "inFeatures">,
) {
  const layout: QuantLayout = {
    codeBits: bits,
    offset: bits === 4 ? 8 : 0,
    groupSize: 32,
    scaleDType: "f16",
    hasMin: false,
    ...extents,
  };
  const { codes, scales } = partTypes(layout);
  if (codes === undefined || scales === undefined) throw new Error("a weight has codes and scales");
  const bytes = new Uint8Array(codes.shape.reduce((product, extent) => product * extent, 1));
  const some = Math.min(bytes.length, 2 ** 20);
  for (let i = 0, state = 1; i < some; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  for (let done = some; done < bytes.length; done *= 2) bytes.copyWithin(done, 0, done);
  const scale = zeros(device, scales.shape)
    .add(bits === 4 ? 0.004 : 0.0003)
    .cast("f16");
  return quantFromParts(layout, { codes: fromBytes(device, codes, bytes), scales: scale });
}
