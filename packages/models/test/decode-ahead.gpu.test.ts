import { type WebGpuDevice, webgpu } from "@heddle/gpu";
import { disposeTree, randn, reference, scope, type Tensor, tensor } from "@heddle/tensor";
import { afterAll, describe, expect, test } from "vitest";
import { findDevice } from "../../gpu/test/find-device.js";
import { nullAdapter } from "../../gpu/test/null-adapter.js";
import type { DecoderConfig } from "../src/config.js";
import { chooseTokensOp } from "../src/decoder/choose-tokens-op.js";
import { createDecoder } from "../src/decoder/create-decoder.js";
import { parseConfig } from "../src/loading/parse-config.js";
import { buildWeights } from "../src/weights.js";

const { device, reason } = await findDevice({ toggles: { enable: ["allow_unsafe_apis"] } });
afterAll(() => device?.dispose());

const config = parseConfig({
  model_type: "llama",
  architectures: ["LlamaForCausalLM"],
  vocab_size: 24,
  hidden_size: 16,
  intermediate_size: 16,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  head_dim: 8,
  max_position_embeddings: 16384,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  hidden_act: "silu",
  tie_word_embeddings: true,
}) as DecoderConfig;

if (device === undefined) test.skip(`decoding ahead on WebGPU: ${reason}`);
else {
  describe("tokens are chosen as by the composition", () => {
    test.each([3, 256, 1025, 5000, 70_001])("%i logits", async (width) => {
      const draws = Float32Array.of(0, 0.37, 0.9999999);
      const heats = Float32Array.of(0.7, 0, 1.9);
      using made = randn(reference(), [3, width], { seed: width });
      const logits = Float32Array.from(await made.data(), (x) => 3 * x);
      // Impossible tokens of the second row.
      for (let i = 0; i < width && width > 300; i += 3) logits[width + i] = Number.NEGATIVE_INFINITY;
      for (const kind of ["likeliest", "drawn", "rows"] as const) {
        const run = async (on: Tensor["device"]) => {
          const inputs = [
            tensor(on, logits, { shape: [3, width] }),
            ...(kind === "likeliest" ? [] : [tensor(on, draws)]),
            ...(kind === "rows" ? [tensor(on, heats)] : []),
          ];
          const outputs = chooseTokensOp.apply(inputs, { kind, temperature: 0.8 });
          const [tokens, results] = await Promise.all(
            outputs.map(async (x) => Array.from(await x.data(), Number)),
          );
          disposeTree([inputs, outputs]);
          return { tokens, results };
        };
        const [actual, expected] = [await run(device), await run(reference())];
        expect(actual.tokens).toEqual(expected.tokens);
        for (const [i, value] of (expected.results ?? []).entries())
          expect(actual.results?.[i]).toBeCloseTo(value, 4);
      }
    });

    test("a logit that is no number gives no log-probability", async () => {
      using logits = tensor(device, Float32Array.of(1, Number.NaN, 2), { shape: [1, 3] });
      const outputs = chooseTokensOp.apply([logits], { kind: "likeliest", temperature: 0 });
      expect((await outputs[1]?.data())?.[1]).toBeNaN();
      disposeTree(outputs);
    });
  });

  test("tokens are the same in every run, drawn or not", async () => {
    const { run, end } = decoderOn(device, 512);
    const first = await run(12, 0);
    expect(await run(40, 0)).toEqual([...first, ...(await run(40, 0)).slice(12)]);
    const drawn = await run(30, 0.7);
    expect(await run(30, 0.7)).toEqual(drawn);
    expect(new Set(drawn).size).toBeGreaterThan(1);
    end();
  });

  // HEDDLE_TOKENS=10000 for a longer run.
  const count = Number(process.env.HEDDLE_TOKENS ?? 300);
  test(`${count} tokens that are computed leave memory where it was`, async () => {
    const { run, end } = decoderOn(device, count + 64);
    await run(50, 0);
    await run(50, 0.7);
    const [before, idle] = [device.memory(), device.idleBytes];
    expect(new Set(await run(count, 0.7)).size).toBeGreaterThan(1);
    const after = device.memory();
    expect([after.buffers, after.bytes]).toEqual([before.buffers, before.bytes]);
    expect(device.idleBytes).toBeLessThanOrEqual(idle + 65_536);
    end();
  });
}

/** A decoder of one small layer that goes on from an empty cache. */
function decoderOn(device: WebGpuDevice, maxSeqLen: number) {
  let seed = 0;
  const weights = buildWeights(config, (_path, shape) =>
    scope(device, () => randn(device, shape, { seed: ++seed })),
  );
  const decoder = createDecoder({ config, weights, device }, { numSlots: 1, maxSeqLen });
  return {
    async run(steps: number, temperature: number) {
      const ids: number[] = [];
      const draw = (step: number) => (step * 0.61803) % 1;
      const options = { slot: 0, token: 1, position: 0, steps, temperature, draw };
      for await (const { id } of decoder.ahead?.(options) ?? []) ids.push(id);
      return ids;
    },
    end() {
      decoder.dispose();
      disposeTree(weights);
    },
  };
}

// Software takes minutes for so many tokens; what Heddle allocates is the same where nothing runs.
const { adapter, keep, reason: nothing } = await nullAdapter<object>();
if (adapter === undefined) test.skip(`10,000 tokens leave memory where it was: ${nothing}`);
else {
  test("10,000 tokens leave memory where it was", async () => {
    const device = await webgpu({ adapter });
    const { run, end } = decoderOn(device, 10_240);
    await run(50, 0);
    await run(50, 0.7);
    const [before, idle] = [device.memory(), device.idleBytes];
    expect((await run(10_000, 0)).length).toBe(10_000);
    expect((await run(1000, 0.7)).length).toBe(1000);
    const after = device.memory();
    expect([after.buffers, after.bytes]).toEqual([before.buffers, before.bytes]);
    expect(device.idleBytes).toBeLessThanOrEqual(idle + 65_536);
    end();
    expect(keep).toBeDefined();
    device.dispose();
  }, 60_000);
}
