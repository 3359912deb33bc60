import { createKvCache } from "@heddle/attention";
import type { WebGpuDevice } from "@heddle/gpu";
import {
  compile,
  disposeTree,
  fromDeviceBuffer,
  type OpCall,
  sizeOf,
  type Tensor,
  type TensorType,
} from "@heddle/tensor";
import { lowerWgsl } from "@heddle/tensor/kernel";
import { afterAll, expect, test } from "vitest";
import { largeGpu } from "../../gpu/test/find-compiler.js";
import { findDevice } from "../../gpu/test/find-device.js";
import { cacheAttend } from "../src/blocks/attend.js";
import type { DecoderConfig } from "../src/config.js";
import { decoderHidden } from "../src/decoder/decoder.js";
import { parseConfig } from "../src/loading/parse-config.js";
import { buildWeights } from "../src/weights.js";

const { device, reason } = await findDevice();
afterAll(() => device?.dispose());

const config = parseConfig({
  model_type: "llama",
  architectures: ["LlamaForCausalLM"],
  vocab_size: 64,
  hidden_size: 256,
  intermediate_size: 512,
  num_hidden_layers: 1,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 64,
  max_position_embeddings: 256,
  rms_norm_eps: 1e-5,
  rope_theta: 10_000,
  hidden_act: "silu",
  tie_word_embeddings: true,
}) as DecoderConfig;

/** Launches of one layer in f16 on a large card, between the embedding and the last norm. Nothing is dispatched. */
function launchesOf(device: WebGpuDevice, B: number, T: number): readonly string[] {
  const empty = (shape: readonly number[], dtype: TensorType["dtype"]) =>
    fromDeviceBuffer(device, { shape, dtype }, device.alloc(sizeOf(shape) * 4));
  const weights = buildWeights(config, (_path, shape) => empty(shape, "f16"));
  const cache = createKvCache(device, {
    numLayers: 1,
    numSlots: B,
    maxSeqLen: 128,
    numKvHeads: 2,
    headDim: 64,
    dtype: "f16",
  });
  const run = compile((stores: typeof cache, ids: Tensor, positions: Tensor, rows: Tensor) => {
    const attend = cacheAttend(stores, { slots_B: rows, starts_B: rows });
    return decoderHidden(config, weights, { ids, positions, attend }).last;
  });
  const inputs = [empty([B, T], "i32"), empty([B, T], "i32"), empty([B], "i32")] as const;
  run(cache, ...inputs).dispose();
  const launches = run.plans()[0]?.launches.map(({ name }) => name) ?? [];
  run.dispose();
  disposeTree([cache, inputs, weights]);
  return launches.slice(1, -1);
}

if (device === undefined) test.skip(`launches of a layer on a large card: ${reason}`);
else {
  // The kernels of a large card, without their programs.
  const lower = (call: OpCall) =>
    lowerWgsl(call, largeGpu) && { name: call.op.name, executedOn: "wgsl", prepared: [], scratch: [] };
  const limits = { ...device.limits, maxLaunchBuffers: largeGpu.maxBuffers };
  Object.assign(device, { lower, limits });

  test("a layer of a prompt takes 8 launches", () => {
    expect(launchesOf(device, 1, 64)).toEqual([
      "rmsNorm",
      "matmul+transpose+rotary+appendKv",
      "cachedAttention",
      "transpose",
      "matmul+fused",
      "rmsNorm",
      "matmul+fused",
      "matmul+fused",
    ]);
  });

  test("a layer of a step of 32 sequences takes 7", () => {
    expect(launchesOf(device, 32, 1)).toEqual([
      "rmsNorm",
      "matmul+rotary+appendKv",
      "cachedAttention",
      "matmul+fused",
      "rmsNorm",
      "matmul+fused",
      "matmul+fused",
    ]);
  });
}
