import { expect, describe as suite, test } from "vitest";
import { goldenConfig } from "../../test/golden-model.js";
import { parseConfig, parseModelConfig } from "../loading/parse-config.js";
import { describe } from "./describe.js";

const gpt2 = (n_embd: number, n_layer: number, n_head: number) => ({
  model_type: "gpt2",
  vocab_size: 50_257,
  n_embd,
  n_layer,
  n_head,
});
const llama2 = (size: readonly [number, number, number, number], kv?: number) => ({
  model_type: "llama",
  vocab_size: 32_000,
  hidden_size: size[0],
  intermediate_size: size[1],
  num_hidden_layers: size[2],
  num_attention_heads: size[3],
  ...(kv === undefined ? {} : { num_key_value_heads: kv }),
});
const bloom = (hidden_size: number, n_layer: number, n_head: number, vocab_size = 250_880) => ({
  model_type: "bloom",
  vocab_size,
  hidden_size,
  n_layer,
  n_head,
});
const mistral = { ...llama2([4096, 14_336, 32, 32], 8), model_type: "mistral", sliding_window: 4096 };

const bertBase = {
  model_type: "bert",
  vocab_size: 30_522,
  hidden_size: 768,
  intermediate_size: 3072,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  max_position_embeddings: 512,
};

/** The keys of the published config.json. */
const chatglm = {
  model_type: "chatglm",
  architectures: ["ChatGLMModel"],
  auto_map: { AutoConfig: "configuration_chatglm.ChatGLMConfig" },
  bos_token_id: 130_004,
  eos_token_id: 130_005,
  mask_token_id: 130_000,
  gmask_token_id: 130_001,
  pad_token_id: 3,
  hidden_size: 4096,
  inner_hidden_size: 16_384,
  layernorm_epsilon: 1e-5,
  max_sequence_length: 2048,
  num_attention_heads: 32,
  num_layers: 28,
  position_encoding_2d: true,
  use_cache: true,
  vocab_size: 130_528,
};

suite("parameters of published models, to the last digit", () => {
  test.each<[string, object, number]>([
    ["GPT-2", gpt2(768, 12, 12), 124_439_808],
    ["GPT-2 medium", gpt2(1024, 24, 16), 354_823_168],
    ["GPT-2 large", gpt2(1280, 36, 20), 774_030_080],
    ["GPT-2 XL", gpt2(1600, 48, 25), 1_557_611_200],
    ["Llama 2 7B", llama2([4096, 11_008, 32, 32]), 6_738_415_616],
    ["Llama 2 13B", llama2([5120, 13_824, 40, 40]), 13_015_864_320],
    ["Llama 2 70B", llama2([8192, 28_672, 80, 64], 8), 68_976_648_192],
    [
      "OPT 125M",
      {
        model_type: "opt",
        vocab_size: 50_272,
        hidden_size: 768,
        ffn_dim: 3072,
        num_hidden_layers: 12,
        num_attention_heads: 12,
      },
      125_239_296,
    ],
    ["BLOOM 560M", bloom(1024, 24, 16), 559_214_592],
    ["BLOOM 1.1B", bloom(1536, 24, 16), 1_065_314_304],
    ["BLOOM 1.7B", bloom(2048, 24, 16), 1_722_408_960],
    ["BLOOM 3B", bloom(2560, 30, 32), 3_002_557_440],
    ["BLOOM 7.1B", bloom(4096, 30, 32), 7_069_016_064],
    ["BLOOM 176B", bloom(14_336, 70, 112), 176_247_271_424],
    ["BloombergGPT", bloom(7680, 70, 40, 131_072), 50_558_868_480],
    ["Mistral 7B", mistral, 7_241_732_096],
    ["ChatGLM 6B", chatglm, 6_173_286_400],
    [
      "Mixtral 8x7B",
      { ...mistral, model_type: "mixtral", sliding_window: null, num_local_experts: 8 },
      46_702_792_704,
    ],
    [
      "Baichuan 7B",
      {
        ...llama2([4096, 11_008, 32, 32]),
        model_type: "baichuan",
        vocab_size: 64_000,
        max_position_embeddings: 4096,
      },
      7_000_559_616,
    ],
    [
      "Phi-2",
      {
        ...llama2([2560, 10_240, 32, 32]),
        model_type: "phi",
        vocab_size: 51_200,
        partial_rotary_factor: 0.4,
      },
      2_779_683_840,
    ],
    [
      "GPT-NeoX 20B",
      { ...llama2([6144, 24_576, 44, 64]), model_type: "gpt_neox", vocab_size: 50_432 },
      20_554_567_680,
    ],
    ["OLMo 7B", { ...llama2([4096, 11_008, 32, 32]), model_type: "olmo", vocab_size: 50_304 }, 6_888_095_744],
    // The published 109,482,240 are those up to the pooler, to which a classifier of two adds its own.
    [
      "BERT base with two classes",
      { ...bertBase, architectures: ["BertForSequenceClassification"] },
      109_482_240 + 2 * 768 + 2,
    ],
    ["BERT base without its pooler", { ...bertBase, architectures: ["BertModel"] }, 109_482_240 - 768 * 769],
    [
      "T5 small",
      {
        model_type: "t5",
        vocab_size: 32_128,
        d_model: 512,
        d_kv: 64,
        d_ff: 2048,
        num_layers: 6,
        num_heads: 8,
      },
      60_506_624,
    ],
  ])("%s", (_, json, parameters) => {
    expect(describe(parseModelConfig(json)).parameters).toBe(parameters);
  });
});

test("Mixtral uses two of its eight experts for a token", () => {
  const config = parseConfig({ ...mistral, model_type: "mixtral", sliding_window: null });
  expect(describe(config).activeParameters).toBe(12_879_925_248);
});

test("keys and values of a token: 2 (L layers) (G heads) (D features) twice; latents are smaller", () => {
  expect(describe(parseConfig(mistral)).kvBytesPerToken).toBe(2 * 32 * 8 * 128 * 2);
  const json = {
    ...llama2([64, 128, 2, 4]),
    model_type: "deci",
    num_key_value_heads_per_layer: [4, 1],
  };
  expect(describe(parseConfig(json)).kvBytesPerToken).toBe(2 * (4 + 1) * 16 * 2);
  // kv_lora_rank 8 and qk_rope_head_dim 4 in each of two layers.
  expect(describe(parseConfig(goldenConfig("deepseek_v3"))).kvBytesPerToken).toBe(2 * (8 + 4) * 2);
});

test("operations of a token: two for each weight of a matrix, the unembedding's among them", () => {
  const config = parseConfig(goldenConfig("llama"));
  const { flopsPerToken, attentionFlopsPerPosition, parameters, weightBytes } = describe(config);
  const norms = 5 * 32;
  const embedding = 72 * 32;
  expect(flopsPerToken).toBe(2 * (parameters - norms - embedding));
  expect(attentionFlopsPerPosition).toBe(2 * (4 * 4 * 8));
  expect(weightBytes.int4).toBe(Math.ceil(parameters * 0.5625));
});
