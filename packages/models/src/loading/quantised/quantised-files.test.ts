import { loadTensors, memorySink, memorySource, openSafetensors, saveTensors } from "@heddle/checkpoints";
import { QuantStack } from "@heddle/quant";
import { cpu, reference, type Tensor, tensor } from "@heddle/tensor";
import { afterAll, describe, expect, test } from "vitest";
import { madeFiles } from "../../../test/made-model.js";
import { relativeError } from "../../../test/relative-error.js";
import { loadModel } from "../load-model.js";

const device = cpu({ threads: 2 });
const host = reference();
afterAll(() => device.dispose());

type Files = Readonly<Record<string, Uint8Array>>;
type Config = Readonly<Record<string, unknown>>;

/** A model's directory with other tensors and another config.json. */
async function rewrite(
  files: Files,
  config: Config,
  change: (tensors: Record<string, Tensor>) => void,
): Promise<Files> {
  const tensors = await loadTensors(await openSafetensors(memorySource(files)), {
    device: host,
    dtype: "stored",
  });
  change(tensors);
  const sink = memorySink();
  await saveTensors(sink, tensors);
  const json = JSON.parse(new TextDecoder().decode(files["config.json"]));
  const text = new TextEncoder().encode(JSON.stringify({ ...json, ...config }));
  return { ...files, ...sink.files, "config.json": text };
}

async function logitsOf(files: Files, options: { readonly dtype?: "f32" } = {}): Promise<Float32Array> {
  const model = await loadModel(memorySource(files), { device, ...options });
  const logits = model.logits({ ids: [[3, 17, 5, 8, 22, 1]] });
  const values = Float32Array.from(await logits.data(), Number);
  logits.dispose();
  model.dispose();
  expect(device.memory().buffers).toBe(0);
  return values;
}

/** Numbers that repeat, but not soon. */
const bytes = (length: number, [least, most]: readonly [number, number]) =>
  Uint8Array.from({ length }, (_, i) => least + ((i * 7919 + (i >> 5) * 104729) % (most - least + 1)));

const gptOss = {
  model_type: "gpt_oss",
  vocab_size: 40,
  hidden_size: 96,
  intermediate_size: 64,
  num_hidden_layers: 1,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 8,
  num_local_experts: 3,
  num_experts_per_tok: 2,
  max_position_embeddings: 64,
};
const mxfp4 = { quantization_config: { quant_method: "mxfp4", modules_to_not_convert: ["lm_head"] } };
const experts = "model.layers.0.mlp.experts";

/** The same experts in 4 bits and dense, as OCP's specification widens them. */
async function expertFiles(): Promise<{ readonly packed: Files; readonly dense: Files }> {
  const plain = await madeFiles(gptOss);
  const magnitudes = [0, 0.5, 1, 1.5, 2, 3, 4, 6];
  const stacks = { gate_up_proj: [3, 128, 96], down_proj: [3, 96, 64] } as const;
  const packed = await rewrite(plain, mxfp4, (tensors) => {
    for (const [name, [matrices, out, into]] of Object.entries(stacks)) {
      delete tensors[`${experts}.${name}`];
      const blocks = [matrices, out, into / 32] as const;
      tensors[`${experts}.${name}_blocks`] = tensor(host, bytes((matrices * out * into) / 2, [0, 255]), {
        shape: [...blocks, 16],
      });
      tensors[`${experts}.${name}_scales`] = tensor(host, bytes((matrices * out * into) / 32, [117, 121]), {
        shape: blocks,
      });
    }
  });
  const dense = await rewrite(plain, {}, (tensors) => {
    for (const [name, [matrices, out, into]] of Object.entries(stacks)) {
      const codes = bytes((matrices * out * into) / 2, [0, 255]);
      const scales = bytes((matrices * out * into) / 32, [117, 121]);
      const values = Float32Array.from({ length: matrices * out * into }, (_, at) => {
        const [column, row] = [Math.floor(at / out) % into, at % out];
        const stored = (Math.floor(at / (out * into)) * out + row) * into + column;
        const code = ((codes[stored >> 1] ?? 0) >> (4 * (stored & 1))) & 15;
        const value =
          (code < 8 ? 1 : -1) * (magnitudes[code & 7] ?? 0) * 2 ** ((scales[stored >> 5] ?? 0) - 127);
        // As in ggml, -0 is 0.
        return value === 0 ? 0 : value;
      });
      tensors[`${experts}.${name}`] = tensor(host, values, { shape: [matrices, into, out] });
    }
  });
  return { packed, dense };
}

describe("experts in MXFP4, as gpt-oss is published", () => {
  test("widened they are the dense experts, bit for bit", async () => {
    const { packed, dense } = await expertFiles();
    expect(await logitsOf(packed, { dtype: "f32" })).toEqual(await logitsOf(dense));
  });

  test("by default they stay quantised, exactly, in 9 bits a weight", async () => {
    const { packed, dense } = await expertFiles();
    const [model, twin] = [
      await loadModel(memorySource(packed), { device }),
      await loadModel(memorySource(dense), { device }),
    ];
    for (const name of ["gate", "up", "down"] as const) {
      const stack = model.weights.layers[0]?.experts?.[name].weight;
      const wide = twin.weights.layers[0]?.experts?.[name].weight as Tensor;
      if (!(stack instanceof QuantStack)) throw new Error(`${name} is widened`);
      using values = stack.dequantize();
      expect(await values.data()).toEqual(await wide.data());
      expect((8 * stack.byteLength) / wide.size).toBe(9);
    }
    model.dispose();
    twin.dispose();
    expect(relativeError(await logitsOf(packed), await logitsOf(dense))).toBeLessThan(1e-5);
  });

  test("codes and scales that do not fit together are listed, and nothing stays", async () => {
    const { packed } = await expertFiles();
    const broken = await rewrite(packed, {}, (tensors) => {
      delete tensors[`${experts}.down_proj_scales`];
      tensors[`${experts}.gate_up_proj_scales`] = tensor(host, new Uint8Array(6), { shape: [6] });
    });
    await expect(loadModel(memorySource(broken), { device })).rejects.toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: loadModel: codes and scales of mxfp4 weights must fit together; got model.layers.0.mlp.experts.down_proj_blocks U8 [3, 96, 2, 16] with no model.layers.0.mlp.experts.down_proj_scales, expected U8 [X, out, in / 32, 16] with U8 [X, out, in / 32]; model.layers.0.mlp.experts.gate_up_proj_blocks U8 [3, 128, 3, 16] with model.layers.0.mlp.experts.gate_up_proj_scales U8 [6], expected U8 [X, out, in / 32, 16] with U8 [X, out, in / 32]. The checkpoint is incomplete or damaged: copy it again.]`,
    );
    const damaged = await rewrite(packed, {}, (tensors) => {
      tensors[`${experts}.down_proj_blocks`] = tensor(host, new Uint8Array(3 * 96 * 16), {
        shape: [3, 96, 1, 16],
      });
      tensors[`${experts}.down_proj_scales`] = tensor(host, new Uint8Array(3 * 96), { shape: [3, 96, 1] });
    });
    await expect(loadModel(memorySource(damaged), { device })).rejects.toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: loadModel: the checkpoint must hold the tensors that config.json calls for; got 1 that differ: model.layers.0.mlp.experts.down_proj is [3, 32, 96], expected [3, 64, 96]. Use the config.json that belongs to this checkpoint.]`,
    );
    expect(device.memory().buffers).toBe(0);
  });
});

const llama = {
  model_type: "llama",
  vocab_size: 40,
  hidden_size: 48,
  intermediate_size: 80,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  rms_norm_eps: 1e-5,
};
const fp8 = {
  quantization_config: {
    quant_method: "fp8",
    fmt: "e4m3",
    activation_scheme: "dynamic",
    weight_block_size: [32, 32],
  },
};

/** The same projections in 8-bit floats and dense, in blocks that do not divide them. */
async function float8Files(): Promise<{ readonly packed: Files; readonly dense: Files }> {
  const plain = await madeFiles(llama);
  const isProjection = (name: string) => name.endsWith("_proj.weight");
  const packed = await rewrite(plain, fp8, (tensors) => {
    for (const [name, { shape }] of Object.entries(tensors).filter(([key]) => isProjection(key))) {
      const [out = 0, into = 0] = shape;
      const blocks = [Math.ceil(out / 32), Math.ceil(into / 32)] as const;
      tensors[name] = tensor(host, bytes(out * into, [0, 0x7e]), { shape });
      tensors[`${name}_scale_inv`] = tensor(
        host,
        Float32Array.from({ length: blocks[0] * blocks[1] }, (_, i) => 1e-4 * (i + 1)),
        { shape: blocks },
      );
    }
  });
  const dense = await rewrite(plain, {}, (tensors) => {
    for (const [name, { shape }] of Object.entries(tensors).filter(([key]) => isProjection(key))) {
      const [out = 0, into = 0] = shape;
      const codes = bytes(out * into, [0, 0x7e]);
      const columns = Math.ceil(into / 32);
      const values = codes.map((code) => code);
      tensors[name] = tensor(
        host,
        Float32Array.from(values, (code, at) => {
          const [row, column] = [Math.floor(at / into), at % into];
          const scale = Math.fround(1e-4 * (Math.floor(row / 32) * columns + Math.floor(column / 32) + 1));
          const exponent = code >> 3;
          const value = exponent === 0 ? (code & 7) * 2 ** -9 : (8 + (code & 7)) * 2 ** (exponent - 10);
          return value * scale;
        }),
        { shape },
      );
    }
  });
  return { packed: asFloat8(packed, isProjection), dense };
}

/** Calls the bytes of those tensors 8-bit floats. */
function asFloat8(files: Files, isCode: (name: string) => boolean): Files {
  const file = files["model.safetensors"] ?? new Uint8Array(0);
  const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + length)));
  for (const [name, entry] of Object.entries(header)) {
    if (isCode(name)) (entry as { dtype: string }).dtype = "F8_E4M3";
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const padded = new Uint8Array(8 * Math.ceil(text.length / 8)).fill(32);
  padded.set(text);
  const whole = new Uint8Array(8 + padded.length + file.length - 8 - length);
  new DataView(whole.buffer).setBigUint64(0, BigInt(padded.length), true);
  whole.set(padded, 8);
  whole.set(file.subarray(8 + length), 8 + padded.length);
  return { ...files, "model.safetensors": whole };
}

describe("matrices in 8-bit floats with scales by blocks, as DeepSeek-V3 is published", () => {
  test("in f32 they are codes times scales, bit for bit", async () => {
    const { packed, dense } = await float8Files();
    expect(await logitsOf(packed, { dtype: "f32" })).toEqual(await logitsOf(dense));
  });

  test("on the CPU they become bf16, as the published conversion does", async () => {
    const { packed, dense } = await float8Files();
    const model = await loadModel(memorySource(packed), { device });
    const twin = await loadModel(memorySource(dense), { device, dtype: "f32" });
    const weight = model.weights.layers[1]?.mlp?.up.weight as Tensor;
    const wide = twin.weights.layers[1]?.mlp?.up.weight as Tensor;
    using rounded = wide.cast("bf16");
    expect(weight.dtype).toBe("bf16");
    expect(await weight.data()).toEqual(await rounded.data());
    model.dispose();
    twin.dispose();
  });

  test("codes without scales, and scales of other blocks, are listed", async () => {
    const { packed } = await float8Files();
    const json = JSON.parse(new TextDecoder().decode(packed["config.json"]));
    json.quantization_config.weight_block_size = [16, 32];
    const other = { ...packed, "config.json": new TextEncoder().encode(JSON.stringify(json)) };
    const error = await loadModel(memorySource(other), { device }).catch((reason: Error) => reason);
    expect(String(error).slice(0, 420)).toMatchInlineSnapshot(
      `"HeddleError: loadModel: codes and scales of fp8 weights must fit together; got model.layers.0.mlp.down_proj.weight F8_E4M3 [48, 80] with model.layers.0.mlp.down_proj.weight_scale_inv F32 [2, 3], expected scales [3, 3]; model.layers.0.mlp.gate_proj.weight F8_E4M3 [80, 48] with model.layers.0.mlp.gate_proj.weight_scale_inv F32 [3, 2], expected scales [5, 2]; model.layers.0.mlp.up_proj.weight F8_E4M3 [80, 48] with model"`,
    );
    expect(device.memory().buffers).toBe(0);
  });
});

describe("quantization_config", () => {
  test.each([
    { quant_method: "gptq", bits: 4 },
    { bits: 4 },
    "fp8",
    { quant_method: "fp8", activation_scheme: "static", weight_block_size: [128, 128] },
    { quant_method: "fp8", weight_block_size: [128, 0] },
    { quant_method: "toString" },
  ])("%j is refused", async (config) => {
    const files = await rewrite(await madeFiles(llama), { quantization_config: config }, () => undefined);
    await expect(loadModel(memorySource(files), { device })).rejects.toThrowErrorMatchingSnapshot();
  });
});
