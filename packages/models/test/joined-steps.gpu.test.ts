import type { WebGpuDevice } from "@heddle/gpu";
import { quantizeWeights } from "@heddle/quant";
import { disposeTree, randn, scope } from "@heddle/tensor";
import { afterAll, expect, test } from "vitest";
import { countDispatches } from "../../gpu/test/count-dispatches.js";
import { findDevice } from "../../gpu/test/find-device.js";
import type { DecoderConfig } from "../src/config.js";
import { createDecoder } from "../src/decoder/create-decoder.js";
import { parseConfig } from "../src/loading/parse-config.js";
import { buildWeights } from "../src/weights.js";

const toggles = { enable: ["allow_unsafe_apis"] };
const apart = await findDevice({ toggles, joinsSteps: false });
const joined = await findDevice({ toggles, joinsSteps: true });
afterAll(() => {
  apart.device?.dispose();
  joined.device?.dispose();
});

const steps = 6;

if (apart.device === undefined || joined.device === undefined)
  test.skip(`joined steps on WebGPU: ${apart.reason ?? joined.reason}`);
else {
  const [alone, together] = [apart.device, joined.device];
  // Long caches are not read in the dispatch that writes them.
  test.each<Case>([
    { family: "llama", format: "f32", maxSeqLen: 4096 },
    { family: "llama", format: "f16", maxSeqLen: 64 },
    { family: "llama", format: "int4", maxSeqLen: 4096 },
    { family: "gpt2", format: "f16", maxSeqLen: 4096 },
    { family: "gpt2", format: "int4", maxSeqLen: 64 },
  ])("$family in $format with caches of $maxSeqLen: the same tokens by fewer dispatches", async (of) => {
    const expected = await decode(alone, of);
    const actual = await decode(together, of);
    expect(actual.ids).toEqual(expected.ids);
    expect(new Set(actual.ids).size).toBeGreaterThan(1);
    expect(actual.dispatches).toBeLessThan(expected.dispatches * 0.8);
    // Counters are as they were: the next run begins like the first.
    expect(actual.again).toEqual(actual.ids);
  });
}

interface Case {
  readonly family: "llama" | "gpt2";
  readonly format: "f32" | "f16" | "int4";
  readonly maxSeqLen: number;
}

/** The tokens that a decoder of random weights chooses, twice, and its dispatches a token. */
async function decode(device: WebGpuDevice, { family, format, maxSeqLen }: Case) {
  const config = configOf(family);
  let seed = 0;
  const plain = buildWeights(config, (_path, shape) =>
    scope(device, () => randn(device, shape, { seed: ++seed }).cast(format === "f16" ? "f16" : "f32")),
  );
  const weights =
    format === "int4"
      ? await quantizeWeights(plain, (_path, { rank }) =>
          rank === 2 ? { bits: 4, groupSize: 32 } : undefined,
        )
      : plain;
  const decoder = createDecoder({ config, weights, device }, { numSlots: 1, maxSeqLen });
  const counter = countDispatches(device);
  const run = async () => {
    const ids: number[] = [];
    const draw = (step: number) => (step * 0.61803) % 1;
    const options = { slot: 0, token: 1, position: 0, steps, temperature: 0.9, draw };
    for await (const { id } of decoder.ahead?.(options) ?? []) ids.push(id);
    return ids;
  };
  const ids = await run();
  const dispatches = counter.stop() / steps;
  const again = await run();
  decoder.dispose();
  disposeTree(weights);
  if (weights !== plain) disposeTree(plain);
  return { ids, again, dispatches };
}

function configOf(family: Case["family"]): DecoderConfig {
  const config =
    family === "llama"
      ? {
          model_type: "llama",
          architectures: ["LlamaForCausalLM"],
          vocab_size: 300,
          hidden_size: 64,
          intermediate_size: 128,
          num_hidden_layers: 2,
          num_attention_heads: 4,
          num_key_value_heads: 2,
          head_dim: 16,
          max_position_embeddings: 16384,
          rms_norm_eps: 1e-5,
          rope_theta: 10000,
          hidden_act: "silu",
          tie_word_embeddings: true,
        }
      : {
          model_type: "gpt2",
          architectures: ["GPT2LMHeadModel"],
          vocab_size: 300,
          n_positions: 4096,
          n_embd: 64,
          n_layer: 2,
          n_head: 4,
          layer_norm_epsilon: 1e-5,
          activation_function: "gelu_new",
        };
  return parseConfig(config) as DecoderConfig;
}
