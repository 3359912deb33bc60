import { openSafetensors } from "@heddle/checkpoints";
import { HeddleError } from "@heddle/tensor";
import { expect, test } from "vitest";
import { everyConfig } from "../../test/every-golden.js";
import { goldenConfig, goldenNames, goldenSource } from "../../test/golden-model.js";
import { packedSource } from "../../test/packed-golden.js";
import { parseConfig, parseModelConfig } from "./parse-config.js";
import { locateWeights, storedWeights, weightShapes } from "./weight-map.js";

test.each(goldenNames)("%s: names and shapes are those that Hugging Face wrote", async (name) => {
  const config = parseConfig(goldenConfig(name));
  const { tensors } = await openSafetensors(goldenSource(name));
  const located = locateWeights(config, tensors);
  expect(located.map(({ storedName }) => storedName).sort()).toEqual([...tensors.keys()].sort());
});

test.each(goldenNames)("%s: every weight of the tree is stored once", (name) => {
  const config = parseConfig(goldenConfig(name));
  const paths = storedWeights(config).flatMap(({ parts }) =>
    // Of a weight that is stored slice by slice, the first stands for all.
    parts.filter(({ slice }) => (slice?.index ?? 0) === 0).map(({ path }) => path),
  );
  expect(paths.sort()).toEqual([...weightShapes(config).keys()].sort());
});

test("GPT-2's attention weight is three of ours, transposed", () => {
  const config = parseConfig(goldenConfig("gpt2"));
  expect(storedWeights(config).find(({ name }) => name.endsWith("h.1.attn.c_attn.weight"))).toEqual({
    name: "transformer.h.1.attn.c_attn.weight",
    shape: [32, 96],
    isTransposed: true,
    axis: 0,
    groups: 1,
    hasUnitRows: false,
    parts: ["query", "key", "value"].map((part) => ({
      path: `layers.1.attention.${part}.weight`,
      shape: [32, 32],
      isMatrix: true,
    })),
  });
});

test("names without the prefix, stored masks and a second copy of a tied embedding are accepted", async () => {
  const config = parseConfig(goldenConfig("gpt2"));
  const { tensors } = await openSafetensors(goldenSource("gpt2"));
  const bare = new Map([...tensors].map(([name, stored]) => [name.replace("transformer.", ""), stored]));
  const mask = { shape: [1, 1, 64, 64] };
  const found = new Map<string, { readonly shape: readonly number[] }>([...bare, ["h.0.attn.bias", mask]]);
  found.set("lm_head.weight", { shape: [72, 32] });
  expect(locateWeights(config, found).map(({ storedName }) => storedName)).toContain(
    "h.0.attn.c_attn.weight",
  );
});

test("all differences are listed in one error", async () => {
  const config = parseConfig({
    ...(goldenConfig("llama") as object),
    num_hidden_layers: 3,
    intermediate_size: 48,
  });
  const { tensors } = await openSafetensors(goldenSource("llama"));
  const found = new Map([...tensors].filter(([name]) => name !== "lm_head.weight"));
  found.set("model.layers.0.self_attn.q_norm.weight", {
    file: "",
    dtype: "F32",
    shape: [8],
    start: 0,
    end: 32,
  });
  try {
    locateWeights(config, found);
    throw new Error("the tensors were accepted");
  } catch (error) {
    expect(HeddleError.is(error) && error.message).toMatchInlineSnapshot(
      `"loadModel: the checkpoint must hold the tensors that config.json calls for; got 17 that differ: missing model.layers.2.input_layernorm.weight [32]; missing model.layers.2.self_attn.q_proj.weight [32, 32]; missing model.layers.2.self_attn.k_proj.weight [16, 32]; missing model.layers.2.self_attn.v_proj.weight [16, 32]; missing model.layers.2.self_attn.o_proj.weight [32, 32]; missing model.layers.2.post_attention_layernorm.weight [32]; model.layers.0.mlp.gate_proj.weight is [40, 32], expected [48, 32]; model.layers.1.mlp.gate_proj.weight is [40, 32], expected [48, 32]; missing model.layers.2.mlp.gate_proj.weight [48, 32]; model.layers.0.mlp.up_proj.weight is [40, 32], expected [48, 32]; model.layers.1.mlp.up_proj.weight is [40, 32], expected [48, 32]; missing model.layers.2.mlp.up_proj.weight [48, 32]; model.layers.0.mlp.down_proj.weight is [32, 40], expected [32, 48]; model.layers.1.mlp.down_proj.weight is [32, 40], expected [32, 48]; missing model.layers.2.mlp.down_proj.weight [32, 48]; missing lm_head.weight [72, 32]; unexpected model.layers.0.self_attn.q_norm.weight. Use the config.json that belongs to this checkpoint."`,
    );
    expect(HeddleError.is(error) && error.details.problems).toHaveLength(17);
  }
});

test.each(["bert", "bert_seqcls", "xlnet", "t5", "bart", "whisper", "mamba", "rwkv"])(
  "%s: a missing, an extra and a misshapen tensor are in one error",
  async (name) => {
    const config = parseModelConfig(everyConfig(name));
    const { tensors } = await openSafetensors(packedSource(name));
    const [missing = "", misshapen = ""] = [...tensors.keys()].filter((key) => /\b1\b.*weight$/.test(key));
    const found = new Map([...tensors].filter(([key]) => key !== missing));
    const told = found.get(misshapen);
    if (told === undefined) throw new Error(`${name} has no two weights in its second layer`);
    found.set(misshapen, { ...told, shape: [...told.shape, 3] });
    found.set("one.too.many", told);
    const [lost, wrong] = [tensors.get(missing)?.shape.join(", "), told.shape.join(", ")];
    expect(() => locateWeights(config, found)).toThrow(
      expect.objectContaining({
        details: expect.objectContaining({
          problems: expect.arrayContaining([
            `missing ${missing} [${lost}]`,
            `${misshapen} is [${wrong}, 3], expected [${wrong}]`,
            "unexpected one.too.many",
          ]),
        }),
      }),
    );
  },
);
