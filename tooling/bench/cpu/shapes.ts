// The model shapes of the CPU benchmark, with the metadata that llama.cpp wants.
import type { GgmlType, GgufValue } from "@heddle/checkpoints";

/** Weight types of the benchmark. */
export type BenchType = Extract<GgmlType, "Q4_0" | "Q8_0" | "F16">;

export interface Shape {
  /** Value of `general.architecture`. */
  readonly architecture: "llama" | "qwen2";
  readonly title: string;
  readonly modelDim: number;
  readonly ffnDim: number;
  readonly numLayers: number;
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly vocabSize: number;
  readonly hasBias: boolean;
  readonly ropeTheta: number;
  readonly normEps: number;
  readonly contextLength: number;
}

export const shapes: Readonly<Record<string, Shape>> = {
  stories260k: {
    architecture: "llama",
    title: "stories260K",
    modelDim: 64,
    ffnDim: 172,
    numLayers: 5,
    numHeads: 8,
    numKvHeads: 4,
    vocabSize: 512,
    hasBias: false,
    ropeTheta: 10_000,
    normEps: 1e-5,
    contextLength: 512,
  },
  smollm2: {
    architecture: "llama",
    title: "SmolLM2-135M",
    modelDim: 576,
    ffnDim: 1536,
    numLayers: 30,
    numHeads: 9,
    numKvHeads: 3,
    vocabSize: 49152,
    hasBias: false,
    ropeTheta: 100_000,
    normEps: 1e-5,
    contextLength: 8192,
  },
  qwen2: {
    architecture: "qwen2",
    title: "Qwen2.5-0.5B",
    modelDim: 896,
    ffnDim: 4864,
    numLayers: 24,
    numHeads: 14,
    numKvHeads: 2,
    vocabSize: 151936,
    hasBias: true,
    ropeTheta: 1_000_000,
    normEps: 1e-6,
    contextLength: 32768,
  },
};

/** Name and row-major shape of every tensor; embeddings are tied, so there is no output projection. */
export function tensorShapes(shape: Shape): ReadonlyMap<string, readonly number[]> {
  const { modelDim: E, ffnDim: F, numHeads, numKvHeads, hasBias } = shape;
  const kvDim = (E / numHeads) * numKvHeads;
  const biases: Record<string, readonly number[]> = hasBias
    ? { "attn_q.bias": [E], "attn_k.bias": [kvDim], "attn_v.bias": [kvDim] }
    : {};
  const layer: Record<string, readonly number[]> = {
    "attn_norm.weight": [E],
    "attn_q.weight": [E, E],
    "attn_k.weight": [kvDim, E],
    "attn_v.weight": [kvDim, E],
    ...biases,
    "attn_output.weight": [E, E],
    "ffn_norm.weight": [E],
    "ffn_gate.weight": [F, E],
    "ffn_up.weight": [F, E],
    "ffn_down.weight": [E, F],
  };
  const layers = Array.from({ length: shape.numLayers }, (_, i) =>
    Object.entries(layer).map(([name, sizes]) => [`blk.${i}.${name}`, sizes] as const),
  );
  return new Map([
    ["token_embd.weight", [shape.vocabSize, E]],
    ...layers.flat(),
    ["output_norm.weight", [E]],
  ]);
}

/** Metadata of a file: the shape, and a small byte-level BPE tokenizer filled up with unused tokens. */
export function metadataOf(shape: Shape, { type }: { readonly type: BenchType }): Map<string, GgufValue> {
  const { architecture: arch } = shape;
  const u32 = (value: number) => ({ type: "u32", value }) as const;
  const f32 = (value: number) => ({ type: "f32", value: Math.fround(value) }) as const;
  const text = (value: string) => ({ type: "string", value }) as const;
  return new Map<string, GgufValue>([
    ["general.architecture", text(arch)],
    ["general.name", text(`random ${shape.title}`)],
    ["general.file_type", u32({ F16: 1, Q4_0: 2, Q8_0: 7 }[type])],
    [`${arch}.block_count`, u32(shape.numLayers)],
    [`${arch}.context_length`, u32(shape.contextLength)],
    [`${arch}.embedding_length`, u32(shape.modelDim)],
    [`${arch}.feed_forward_length`, u32(shape.ffnDim)],
    [`${arch}.attention.head_count`, u32(shape.numHeads)],
    [`${arch}.attention.head_count_kv`, u32(shape.numKvHeads)],
    [`${arch}.attention.layer_norm_rms_epsilon`, f32(shape.normEps)],
    [`${arch}.rope.freq_base`, f32(shape.ropeTheta)],
    [`${arch}.rope.dimension_count`, u32(shape.modelDim / shape.numHeads)],
    ...tokenizerMetadata(shape),
  ]);
}

function tokenizerMetadata({ vocabSize, architecture }: Shape): [string, GgufValue][] {
  const { tokens, merges } = smallBpe(vocabSize - 1);
  const endOfText = tokens.length;
  tokens.push("<|endoftext|>");
  const types: number[] = tokens.map((_, id) => (id === endOfText ? 3 : 1));
  while (tokens.length < vocabSize) types.push(tokens.push(`<|unused_${tokens.length}|>`) && 5);
  const id = { type: "u32", value: endOfText } as const;
  return [
    ["tokenizer.ggml.model", { type: "string", value: "gpt2" }],
    ["tokenizer.ggml.pre", { type: "string", value: architecture === "llama" ? "smollm" : "qwen2" }],
    ["tokenizer.ggml.tokens", { type: "array", itemType: "string", value: tokens }],
    ["tokenizer.ggml.token_type", { type: "array", itemType: "i32", value: types }],
    ["tokenizer.ggml.merges", { type: "array", itemType: "string", value: merges }],
    ["tokenizer.ggml.bos_token_id", id],
    ["tokenizer.ggml.eos_token_id", id],
    ["tokenizer.ggml.add_bos_token", { type: "bool", value: false }],
  ];
}

/** All bytes as GPT-2 writes them, and pairs of small letters as far as there is room. */
function smallBpe(most: number): { readonly tokens: string[]; readonly merges: readonly string[] } {
  const isPlain = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte !== 173);
  const tokens: string[] = [];
  for (let byte = 0, moved = 256; byte < 256; byte++) {
    tokens.push(String.fromCodePoint(isPlain(byte) ? byte : moved++));
  }
  const letters = [..."abcdefghijklmnopqrstuvwxyz"];
  const pairs = letters.flatMap((a) => letters.map((b) => [a, b] as const)).slice(0, most - tokens.length);
  tokens.push(...pairs.map(([a, b]) => a + b));
  return { tokens, merges: pairs.map(([a, b]) => `${a} ${b}`) };
}
