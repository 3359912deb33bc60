import { HeddleError } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { everyConfig, everyName } from "../../test/every-golden.js";
import { goldenConfig, goldenNames, hasGoldenFile } from "../../test/golden-model.js";
import { madeConfigs } from "../../test/made-model.js";
import { configToJson, parseConfig, parseModelConfig } from "./parse-config.js";

const llama = {
  model_type: "llama",
  vocab_size: 32_000,
  hidden_size: 4096,
  intermediate_size: 11_008,
  num_hidden_layers: 32,
  num_attention_heads: 32,
};

function messageOf(json: unknown): string {
  try {
    parseConfig(json);
  } catch (error) {
    if (HeddleError.is(error)) return `${error.code} ${error.message}`;
    throw error;
  }
  throw new Error("the configuration was accepted");
}

test("the first Llama's short configuration takes the defaults of its time", () => {
  expect(parseConfig(llama)).toMatchInlineSnapshot(`
    {
      "attention": {
        "hasBias": false,
        "scale": 0.08838834764831845,
      },
      "family": "llama",
      "ffnDim": 11008,
      "headDim": 128,
      "initializerRange": 0.02,
      "maxSeqLen": 2048,
      "mlp": {
        "activation": "silu",
        "hasBias": false,
        "kind": "gated",
      },
      "modelDim": 4096,
      "norm": {
        "eps": 0.000001,
        "kind": "rms",
      },
      "numHeads": 32,
      "numKvHeads": 32,
      "numLayers": 32,
      "positions": {
        "kind": "rope",
        "scaling": {
          "kind": "default",
        },
        "theta": 10000,
      },
      "tieEmbeddings": false,
      "tokens": {
        "eos": [],
      },
      "vocabSize": 32000,
    }
  `);
});

test("GPT-2's configuration", () => {
  const json = { model_type: "gpt2", vocab_size: 50_257, n_embd: 768, n_layer: 12, n_head: 12, n_ctx: 1024 };
  expect(parseConfig({ ...json, bos_token_id: 50_256, eos_token_id: 50_256 })).toMatchInlineSnapshot(`
    {
      "attention": {
        "hasBias": true,
        "scale": 0.125,
      },
      "family": "gpt2",
      "ffnDim": 3072,
      "headDim": 64,
      "initializerRange": 0.02,
      "maxSeqLen": 1024,
      "mlp": {
        "activation": "gelu-tanh",
        "hasBias": true,
        "kind": "plain",
      },
      "modelDim": 768,
      "norm": {
        "eps": 0.00001,
        "kind": "layer",
      },
      "numHeads": 12,
      "numKvHeads": 12,
      "numLayers": 12,
      "positions": {
        "kind": "learned",
      },
      "tieEmbeddings": true,
      "tokens": {
        "bos": 50256,
        "eos": [
          50256,
        ],
      },
      "vocabSize": 50257,
    }
  `);
});

describe.each(goldenNames.filter((name) => hasGoldenFile(name, "config.legacy.json")))("%s", (name) => {
  test("current and older keys mean the same", () => {
    expect(parseConfig(goldenConfig(name, "config.legacy.json"))).toEqual(parseConfig(goldenConfig(name)));
  });
});

test.each(goldenNames)("%s is written and read back as the same configuration", (name) => {
  const config = parseConfig(goldenConfig(name));
  expect(parseConfig(configToJson(config))).toEqual(config);
});

test("a configuration is frozen throughout", () => {
  const config = parseConfig(llama);
  expect([config, config.norm, config.positions, config.tokens.eos].every(Object.isFrozen)).toBe(true);
});

test("every problem of a file is listed in one error", () => {
  const broken = {
    ...llama,
    hidden_size: undefined,
    num_hidden_layers: 0,
    sliding_window: 4096,
    hidden_act: "tanh",
  };
  expect(messageOf(broken)).toMatchInlineSnapshot(
    `"config parseConfig: config.json must describe a llama model that Heddle computes; got unknown key sliding_window = 4096; hidden_size = missing (Invalid input: expected number, received undefined); num_hidden_layers = 0 (Too small: expected number to be >0); hidden_act = "tanh" (Invalid option: expected one of "silu"|"swish"|"gelu"|"gelu_new"|"gelu_pytorch_tanh"|"gelu_fast"|"relu"). Mend these keys."`,
  );
});

test("values that JSON does not have are refused by name, too", () => {
  const circle: Record<string, unknown> = { ...llama, hidden_size: Number.NaN, vocab_size: 8n };
  circle.self = circle;
  expect(() => parseConfig(circle)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: parseConfig: config.json must describe a llama model that Heddle computes; got unknown key self = an object in a circle; vocab_size = 8n (Invalid input: expected number, received bigint); hidden_size = NaN (Invalid input: expected number, received NaN). Mend these keys.]`,
  );
  expect(() => parseConfig({ model_type: circle })).toThrow(
    /model_type must be one of .*; got an object in a circle\./,
  );
  expect(() => parseConfig({ model_type: 3n })).toThrow("got 3n.");
  expect(() => parseConfig({})).toThrow("got missing.");
});

describe("numbers beyond float32, which would make every logit NaN", () => {
  /** A configuration with another value at each of its numbers in turn, at any depth. */
  const withNumber = (json: object, value: number): readonly object[] =>
    Object.entries(json).flatMap(([key, held]) => {
      const put = (child: unknown) =>
        Array.isArray(json) ? json.with(Number(key), child) : { ...json, [key]: child };
      if (typeof held === "number") return [put(value)];
      return typeof held === "object" && held !== null ? withNumber(held, value).map(put) : [];
    });

  test.each([...everyName.map((name) => [name, everyConfig(name)] as const), ...Object.entries(madeConfigs)])(
    "%s: are refused wherever they would have an effect",
    (_, json) => {
      const config = parseModelConfig(json);
      let refused = 0;
      for (const number of [1e308, -1e308, 1e-308]) {
        for (const changed of withNumber(json, number)) {
          try {
            expect(parseModelConfig(changed)).toEqual(config);
          } catch (error) {
            if (!HeddleError.is(error)) throw error;
            refused++;
          }
        }
      }
      expect(refused).toBeGreaterThan(10);
    },
  );

  test("are named with the range", () => {
    const json = goldenConfig("mpt") as Readonly<Record<string, object>>;
    const attn_config = { ...json.attn_config, softmax_scale: 1e308 };
    expect(messageOf({ ...json, attn_config, initializer_range: 1e-39 })).toMatchInlineSnapshot(
      `"config parseConfig: config.json must describe a mpt model that Heddle computes; got attn_config.softmax_scale = 1e+308 (Invalid input: expected 0 or a size from 1.2e-38 to 3.4e38); initializer_range = 1e-39 (Invalid input: expected 0 or a size from 1.2e-38 to 3.4e38). Mend these keys."`,
    );
  });
});

test("a part of a head that turns lies in the head", () => {
  const json = goldenConfig("gptj") as object;
  for (const rotary_dim of [2 ** 31, 3])
    expect(() => parseConfig({ ...json, rotary_dim })).toThrow(
      `rotary_dim must be even and at most the width of a head; got rotary_dim ${rotary_dim}, n_embd / n_head 8.`,
    );
});

test("a key that is switched off, or known to have no effect, is passed over", () => {
  const extra = {
    sliding_window: null,
    use_qk_norm: false,
    transformers_version: "4.40",
    attention_dropout: 0.1,
  };
  expect(parseConfig({ ...llama, ...extra })).toEqual(parseConfig(llama));
  const off = { add_cross_attention: true };
  const gpt2 = { model_type: "gpt2", vocab_size: 8, n_embd: 8, n_layer: 1, n_head: 1 };
  expect(messageOf({ ...gpt2, ...off })).toContain("unknown key add_cross_attention = true");
});

test("other models, impossible heads and unknown scalings", () => {
  const messages = [
    messageOf({ model_type: "no_such_model" }).replace(/one of .*;/, "one of (all);"),
    messageOf([]),
    messageOf({ ...llama, num_attention_heads: 33 }),
    messageOf({ ...llama, num_key_value_heads: 5 }),
    messageOf({ ...llama, rope_scaling: { rope_type: "spiral", factor: 2 } }),
    messageOf({ ...llama, rope_scaling: { type: "linear" } }),
    messageOf({ ...llama, rope_scaling: { type: "linear", factor: 2, low_freq_factor: 1 } }),
  ];
  expect(messages).toMatchInlineSnapshot(`
    [
      "unsupported parseConfig: model_type must be one of (all); got "no_such_model". Convert the model or choose another.",
      "config parseConfig: config.json must hold an object; got []. Pass the parsed file.",
      "config parseConfig: hidden_size must be a multiple of num_attention_heads; got hidden_size 4096, num_attention_heads 33. Check the config.json, or set head_dim where the family has it.",
      "config parseConfig: query heads must be a multiple of key heads; got num_attention_heads 32, num_key_value_heads 5. Check the config.json.",
      "config parseConfig: config.json must describe a llama model that Heddle computes; got rope_scaling.rope_type = "spiral" (Invalid discriminator value. Expected 'default' | 'linear' | 'llama3' | 'yarn' | 'dynamic' | 'longrope'). Mend these keys.",
      "config parseConfig: config.json must describe a llama model that Heddle computes; got rope_scaling.factor = missing (Invalid input: expected number, received undefined). Mend these keys.",
      "config parseConfig: config.json must describe a llama model that Heddle computes; got rope_scaling = {"type":"linear","factor":2,"low_freq_factor":1} (Unrecognized key: "low_freq_factor"). Mend these keys.",
    ]
  `);
});

test("gpt-oss 20b's config.json is taken as it is published", () => {
  const config = parseConfig({
    architectures: ["GptOssForCausalLM"],
    attention_bias: true,
    attention_dropout: 0.0,
    eos_token_id: 200_002,
    experts_per_token: 4,
    head_dim: 64,
    hidden_act: "silu",
    hidden_size: 2880,
    initial_context_length: 4096,
    initializer_range: 0.02,
    intermediate_size: 2880,
    layer_types: Array.from({ length: 24 }, (_, i) => (i % 2 === 0 ? "sliding_attention" : "full_attention")),
    max_position_embeddings: 131_072,
    model_type: "gpt_oss",
    num_attention_heads: 64,
    num_experts_per_tok: 4,
    num_hidden_layers: 24,
    num_key_value_heads: 8,
    num_local_experts: 32,
    output_router_logits: false,
    pad_token_id: 199_999,
    quantization_config: {
      modules_to_not_convert: ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens"],
      quant_method: "mxfp4",
    },
    rms_norm_eps: 1e-5,
    rope_scaling: {
      beta_fast: 32.0,
      beta_slow: 1.0,
      factor: 32.0,
      original_max_position_embeddings: 4096,
      rope_type: "yarn",
      truncate: false,
    },
    rope_theta: 150_000,
    router_aux_loss_coef: 0.9,
    sliding_window: 128,
    swiglu_limit: 7.0,
    tie_word_embeddings: false,
    transformers_version: "4.55.0.dev0",
    use_cache: true,
    vocab_size: 201_088,
  });
  expect(config.mlp.experts).toMatchObject({ numExperts: 32, topK: 4 });
  expect(config.maxSeqLen).toBe(131_072);
});

test("DeepSeek-V3's config.json is taken as it is published", () => {
  const config = parseConfig({
    architectures: ["DeepseekV3ForCausalLM"],
    attention_bias: false,
    attention_dropout: 0.0,
    auto_map: { AutoConfig: "configuration_deepseek.DeepseekV3Config" },
    bos_token_id: 0,
    eos_token_id: 1,
    ep_size: 1,
    first_k_dense_replace: 3,
    hidden_act: "silu",
    hidden_size: 7168,
    initializer_range: 0.02,
    intermediate_size: 18_432,
    kv_lora_rank: 512,
    max_position_embeddings: 163_840,
    model_type: "deepseek_v3",
    moe_intermediate_size: 2048,
    moe_layer_freq: 1,
    n_group: 8,
    n_routed_experts: 256,
    n_shared_experts: 1,
    norm_topk_prob: true,
    num_attention_heads: 128,
    num_experts_per_tok: 8,
    num_hidden_layers: 61,
    num_key_value_heads: 128,
    num_nextn_predict_layers: 1,
    q_lora_rank: 1536,
    qk_nope_head_dim: 128,
    qk_rope_head_dim: 64,
    quantization_config: {
      activation_scheme: "dynamic",
      fmt: "e4m3",
      quant_method: "fp8",
      weight_block_size: [128, 128],
    },
    rms_norm_eps: 1e-6,
    rope_scaling: {
      beta_fast: 32,
      beta_slow: 1,
      factor: 40,
      mscale: 1.0,
      mscale_all_dim: 1.0,
      original_max_position_embeddings: 4096,
      type: "yarn",
    },
    rope_theta: 10_000,
    routed_scaling_factor: 2.5,
    scoring_func: "sigmoid",
    tie_word_embeddings: false,
    topk_group: 4,
    topk_method: "noaux_tc",
    torch_dtype: "bfloat16",
    transformers_version: "4.33.1",
    use_cache: true,
    v_head_dim: 128,
    vocab_size: 129_280,
  });
  expect(config.mlp.experts).toMatchObject({ numExperts: 256, topK: 8 });
});
