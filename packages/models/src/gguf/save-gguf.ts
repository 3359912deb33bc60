import {
  beginBlock,
  type FileSink,
  type GgmlType,
  type GgufTensorData,
  type GgufValue,
  ggmlTypeInfo,
  type QuantizableType,
  quantizeOn,
  writeGguf,
} from "@heddle/checkpoints";
import { type InputMoments, QuantTensor, roundWithFeedback } from "@heddle/quant";
import { type Device, HeddleError, invariant, Tensor } from "@heddle/tensor";
import { type Tokenizer, toGgufVocabulary } from "@heddle/tokenizers";
import type { DecoderConfig } from "../config.js";
import type { EncoderWeights } from "../encoder/weights.js";
import { configToJson } from "../loading/parse-config.js";
import { type StoredWeight, storedWeights } from "../loading/weight-map.js";
import type { DecoderWeights } from "../weights.js";
import { floatBytes } from "./float-bytes.js";
import type { GgufFamily, GgufWeightRule } from "./gguf-family.js";
import { ropeFactors } from "./gguf-rope.js";
import { interleaveHalves } from "./head-rows.js";
import { ggufFamilyFor } from "./registry.js";
import { ruleOf } from "./weight-rules.js";

/** Types in which matrices can be written. */
export type GgufWeightType = "F32" | "F16" | "Q8_0" | "Q4_0" | "Q4_K" | "Q6_K";

export interface SaveGgufOptions {
  /** Of matrices; vectors are F32. Where rows are no multiple of the type's block: Q8_0, else F16. Default "F16". */
  readonly type?: GgufWeightType;
  /**
   * Of the embedding and the unembedding, which suffer most. Default: the same, but Q6_K where `type` has four bits, as
   * llama.cpp does.
   */
  readonly embeddingType?: GgufWeightType;
  /**
   * Second moments of the inputs of weights by path, as `calibrate` gives them: such weights are quantised with regard to them (GPTQ).
   * The others, and all without it, are rounded by themselves, as ggml's reference does to the byte.
   */
  readonly calibration?: ReadonlyMap<string, InputMoments>;
  readonly tokenizer?: Tokenizer;
  /** llama.cpp's name for the tokenizer's split into words, where it cannot be found out; see `toGgufVocabulary`. */
  readonly pre?: string;
  /** Jinja source. */
  readonly chatTemplate?: string;
  /** Written as `general.name`. */
  readonly name?: string;
  readonly onProgress?: (progress: { readonly writtenBytes: number; readonly totalBytes: number }) => void;
}

/**
 * Writes a model as one GGUF file that Heddle and llama.cpp load: configuration, weights, tokenizer and chat template.
 *
 * Borrows the weights; quantised ones are widened and quantised anew. One tensor at a time is widened.
 * @throws HeddleError "unsupported" for a family or tokenizer that GGUF cannot hold, or a weight that is neither dense nor
 *   quantised; "config" for weights that the type cannot hold
 */
export async function saveGguf(
  sink: FileSink,
  file: string,
  { config, weights }: { readonly config: DecoderConfig; readonly weights: DecoderWeights | EncoderWeights },
  options: SaveGgufOptions = {},
): Promise<void> {
  const family = ggufFamilyFor(config.family);
  const lost = family.losses?.(configToJson(config));
  if (lost !== undefined) {
    const message = `saveGguf: a "${family.architecture}" file must hold all of the model; got what it cannot hold, ${lost}. Or save it with saveModel.`;
    throw new HeddleError("unsupported", message, { family: config.family, lost });
  }
  const byPath = writableWeights(weights);
  const stored = storedWeights(config, { rules: family.rules });
  const typed = stored.map((weight) => ({ weight, type: typeOf(weight, options) }));
  const totalBytes = typed.reduce((sum, { weight, type }) => sum + sizeOf(weight, type), 0);
  let writtenBytes = 0;
  const tensors = typed.map(({ weight, type }): [string, GgufTensorData] => [
    weight.name,
    {
      type,
      shape: weight.shape,
      bytes: async () => {
        const rule = ruleOf(family, weight.name);
        const { calibration } = options;
        const bytes = await bytesOf({ config, rule, weight, type, calibration }, byPath);
        writtenBytes += bytes.byteLength;
        options.onProgress?.({ writtenBytes, totalBytes });
        return bytes;
      },
    },
  ]);
  const metadata = metadataOf(family, config, options);
  await writeGguf(sink, file, { metadata, tensors: new Map([...factorData(config), ...tensors]) });
}

/** What rotation frequencies are divided by, where the configuration needs such tensors. */
function factorData(config: DecoderConfig): [string, GgufTensorData][] {
  return [...ropeFactors(config)].map(([name, factors]) => {
    const bytes = floatBytes("F32", Float32Array.from(factors));
    return [name, { type: "F32", shape: [factors.length], bytes }];
  });
}

type Writable = Tensor | QuantTensor;

function writableWeights(weights: unknown): ReadonlyMap<string, Writable> {
  const isLeaf = (value: unknown): value is Writable =>
    value instanceof Tensor || value instanceof QuantTensor;
  const found = new Map<string, Writable>();
  const visit = (value: unknown, path: string): void => {
    if (value === undefined) return;
    if (isLeaf(value)) found.set(path, value);
    else if (Object.getPrototypeOf(value) === Object.prototype || Array.isArray(value)) {
      for (const [key, child] of Object.entries(value as object))
        visit(child, path === "" ? key : `${path}.${key}`);
    } else {
      const message = `saveGguf: every weight must be a Tensor or QuantTensor; got another kind at "${path}". Merge it first.`;
      throw new HeddleError("unsupported", message, { path });
    }
  };
  visit(weights, "");
  return found;
}

/** Tables that are looked up and added; small, and kept exact as llama.cpp keeps them. */
const inputTables = ["positionEmbedding", "typeEmbedding"];
const embeddings = ["embedding", "unembedding"];

function typeOf({ shape, parts }: StoredWeight, options: SaveGgufOptions): GgmlType {
  const { type = "F16", embeddingType = type === "Q4_0" || type === "Q4_K" ? "Q6_K" : type } = options;
  const columns = shape.at(-1) ?? 1;
  if (shape.length < 2 || inputTables.includes(parts[0]?.path ?? "")) return "F32";
  const wanted = embeddings.includes(parts[0]?.path ?? "") ? embeddingType : type;
  const fits = (candidate: GgmlType) => columns % ggmlTypeInfo(candidate).blockSize === 0;
  return ([wanted, "Q8_0", "F16"] as const).find(fits) ?? "F32";
}

function sizeOf({ shape }: StoredWeight, type: GgmlType): number {
  const { blockSize, blockBytes } = ggmlTypeInfo(type);
  return (shape.reduce((product, size) => product * size, 1) / blockSize) * blockBytes;
}

interface BytesJob {
  readonly config: DecoderConfig;
  readonly rule: GgufWeightRule;
  readonly weight: StoredWeight;
  readonly type: GgmlType;
  readonly calibration?: SaveGgufOptions["calibration"];
}

async function bytesOf(
  { config, rule, weight, type, calibration }: BytesJob,
  byPath: ReadonlyMap<string, Writable>,
): Promise<Uint8Array> {
  const count = weight.shape.reduce((product, size) => product * size, 1);
  const { offset = 0 } = rule;
  const bytes = new Uint8Array(sizeOf(weight, type));
  let at = 0;
  for (const { path } of weight.parts) {
    const part = byPath.get(path);
    invariant(part, `the tree holds ${path}`);
    const values = Float32Array.from(await valuesOf(part));
    if (offset !== 0) for (let i = 0; i < values.length; i++) values[i] = (values[i] ?? 0) + offset;
    const own = await encodeValues(part.device, { type, values, moments: calibration?.get(path) });
    bytes.set(own, at);
    at += own.byteLength;
  }
  if (rule.interleaved === undefined) return bytes;
  const rows = weight.shape.length === 1 ? count : count / (weight.shape.at(-1) ?? 1);
  return interleaveHalves(bytes, { numHeads: config[rule.interleaved], rowBytes: bytes.byteLength / rows });
}

interface EncodeJob {
  readonly type: GgmlType;
  readonly values: Float32Array;
  readonly moments: InputMoments | undefined;
}

async function encodeValues(device: Device, { type, values, moments }: EncodeJob): Promise<Uint8Array> {
  if (type === "F32" || type === "F16") return floatBytes(type, values);
  const quantised = type as QuantizableType;
  if (moments !== undefined) return encodeCalibrated(quantised, values, moments);
  return quantizeOn(device, quantised, values);
}

/** Quantises rows so that the errors of products with the observed inputs are small. */
function encodeCalibrated(type: QuantizableType, values: Float32Array, moments: InputMoments): Uint8Array {
  const { blockSize, blockBytes } = ggmlTypeInfo(type);
  const bytes = new Uint8Array((values.length / blockSize) * blockBytes);
  roundWithFeedback(values, {
    moments,
    groupSize: blockSize,
    begin: ({ row, start, values: block, weights }) => {
      const at = ((row * moments.width + start) / blockSize) * blockBytes;
      return beginBlock(type, block, { weights, bytes, at });
    },
  });
  return bytes;
}

async function valuesOf(weight: Writable): Promise<ArrayLike<number>> {
  if (weight instanceof Tensor) return weight.data();
  using dense = weight.dequantize();
  return await dense.data();
}

function metadataOf(
  { architecture, toFields }: GgufFamily,
  config: DecoderConfig,
  { tokenizer, pre, chatTemplate, name, type = "F16" }: SaveGgufOptions,
): Map<string, GgufValue> {
  const text = (value: string) => ({ type: "string", value }) as const;
  const fileType = { F32: 0, F16: 1, Q4_0: 2, Q8_0: 7, Q4_K: 15, Q6_K: 18 }[type];
  const fields = Object.entries(toFields(configToJson(config))).map(
    ([key, value]) => [key.startsWith(".") ? architecture + key : key, value] as const,
  );
  return new Map<string, GgufValue>([
    ["general.architecture", text(architecture)],
    ["general.type", text("model")],
    ["general.name", text(name ?? config.family)],
    ["general.file_type", { type: "u32", value: fileType }],
    ["general.quantization_version", { type: "u32", value: 2 }],
    ...fields,
    ...(tokenizer === undefined ? noTokenizer : tokenizerFields(tokenizer, pre)),
    ...(chatTemplate === undefined ? [] : [["tokenizer.chat_template", text(chatTemplate)] as const]),
  ]);
}

const noTokenizer: readonly [string, GgufValue][] = [
  ["tokenizer.ggml.model", { type: "string", value: "no_vocab" }],
];

function tokenizerFields(tokenizer: Tokenizer, pre: string | undefined): [string, GgufValue][] {
  const vocabulary = toGgufVocabulary(tokenizer, pre === undefined ? {} : { pre });
  const { model, tokens, scores, types, merges, precompiledCharsmap, ids = {}, flags = {} } = vocabulary;
  const entries: [string, GgufValue | undefined][] = [
    ["model", { type: "string", value: model }],
    ["pre", vocabulary.pre === undefined ? undefined : { type: "string", value: vocabulary.pre }],
    ["tokens", { type: "array", itemType: "string", value: tokens }],
    ["scores", scores && { type: "array", itemType: "f32", value: Array.from(scores) }],
    ["token_type", types && { type: "array", itemType: "i32", value: Array.from(types) }],
    ["merges", merges && { type: "array", itemType: "string", value: merges }],
    [
      "precompiled_charsmap",
      precompiledCharsmap && { type: "array", itemType: "u8", value: [...precompiledCharsmap] },
    ],
    ["bos_token_id", idField(ids.bos)],
    ["eos_token_id", idField(ids.eos)],
    ["unknown_token_id", idField(ids.unk)],
    ["padding_token_id", idField(ids.pad)],
    ["add_bos_token", flagField(flags.addBos)],
    ["add_eos_token", flagField(flags.addEos)],
    ["add_space_prefix", flagField(flags.addSpacePrefix)],
    ["remove_extra_whitespaces", flagField(flags.removeExtraWhitespaces)],
  ];
  return entries.flatMap(([key, value]) => (value === undefined ? [] : [[`tokenizer.ggml.${key}`, value]]));
}

const idField = (value: number | undefined) =>
  value === undefined ? undefined : ({ type: "u32", value } as const);
const flagField = (value: boolean | undefined) =>
  value === undefined ? undefined : ({ type: "bool", value } as const);
