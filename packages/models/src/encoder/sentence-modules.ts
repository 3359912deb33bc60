import { type FileSource, loadTensors, openSafetensors, readJson } from "@heddle/checkpoints";
import { type Device, disposeTree, HeddleError, invariant, type Tensor } from "@heddle/tensor";
import { z } from "zod";
import type { Pooling } from "./pooling.js";

/** How a model was trained to make vectors of texts, as the files of sentence-transformers tell it. */
export interface SentenceModules {
  /** Vectors of several poolings are joined, in this order. */
  readonly poolings: readonly Pooling[];
  /** Vectors are scaled to length 1. */
  readonly isNormalized: boolean;
  /** Longest text, in tokens. */
  readonly maxTokens?: number;
  readonly isLowercased: boolean;
  /** Texts to put before others, by what they are for, such as "query". */
  readonly prompts: Readonly<Record<string, string>>;
  readonly defaultPrompt?: string;
  /** Linear layers behind the pooling, one after another. */
  readonly dense: readonly DenseModule[];
  /** Modules that are not understood, such as "LSTM": the vectors are not the model's own without them. */
  readonly unknownModules: readonly string[];
}

/** A linear layer over vectors of texts, and its nonlinearity. */
export interface DenseModule {
  /** [out, in] */
  readonly weight: Tensor;
  /** [out] */
  readonly bias?: Tensor;
  readonly activation: "identity" | "tanh" | "relu" | "gelu";
}

/** Nonlinearities by the last part of the name that the files have. */
const activations: Readonly<Record<string, DenseModule["activation"]>> = {
  Identity: "identity",
  Tanh: "tanh",
  ReLU: "relu",
  GELU: "gelu",
};

const denseSchema = z.looseObject({ activation_function: z.string().default("Tanh") });

const moduleSchema = z.array(z.looseObject({ path: z.string(), type: z.string() })).min(1);

/** The switches of a pooling, and how each is called here, in the order in which vectors are joined. */
const poolingSwitches = {
  pooling_mode_cls_token: "first",
  pooling_mode_max_tokens: "max",
  pooling_mode_mean_tokens: "mean",
  pooling_mode_mean_sqrt_len_tokens: "mean-sqrt",
  pooling_mode_weightedmean_tokens: "weighted-mean",
  pooling_mode_lasttoken: "last",
} as const satisfies Readonly<Record<string, Pooling>>;

const poolingNames: Readonly<Record<string, Pooling>> = {
  cls: "first",
  max: "max",
  mean: "mean",
  mean_sqrt_len_tokens: "mean-sqrt",
  weightedmean: "weighted-mean",
  lasttoken: "last",
};

const poolingSchema = z.looseObject({
  pooling_mode: z.string().optional(),
  ...Object.fromEntries(Object.keys(poolingSwitches).map((name) => [name, z.boolean().default(false)])),
});

const transformerSchema = z.looseObject({
  max_seq_length: z.number().int().positive().nullish(),
  do_lower_case: z.boolean().default(false),
});

const promptsSchema = z.looseObject({
  prompts: z.record(z.string(), z.string()).default({}),
  default_prompt_name: z.string().nullish(),
});

/**
 * Reads `modules.json` of a directory of sentence-transformers, and the files that it names.
 *
 * @returns undefined where the directory has none; the tensors of its linear layers are the caller's
 * @throws HeddleError "config" naming the file whose values cannot be; nothing stays loaded then
 * @see Reimers and Gurevych 2019, Sentence-BERT, arXiv:1908.10084
 */
export async function readSentenceModules(
  source: FileSource,
  device: Device,
): Promise<SentenceModules | undefined> {
  if (!source.list().includes("modules.json")) return undefined;
  const modules = check("modules.json", moduleSchema, await readJson(source, "modules.json"));
  const kinds = modules.map(({ type, path }) => ({ kind: type.split(".").at(-1) ?? type, path }));
  const poolingAt = kinds.find(({ kind }) => kind === "Pooling");
  const file = `${poolingAt?.path}/config.json`;
  // Without a pooling a model gives vectors of tokens; their mean is what the library falls back to.
  const poolings =
    poolingAt === undefined ? ["mean" as const] : poolingsOf(file, await readJson(source, file));
  const optional = async <T>(name: string, schema: z.ZodType<T>) =>
    check(name, schema, source.list().includes(name) ? await readJson(source, name) : {});
  const transformer = await optional("sentence_bert_config.json", transformerSchema);
  const { prompts, default_prompt_name } = await optional("config_sentence_transformers.json", promptsSchema);
  const known = ["Transformer", "Pooling", "Normalize"];
  const dense: DenseModule[] = [];
  const unknownModules: string[] = [];
  try {
    for (const { kind, path } of kinds) {
      const layer = kind === "Dense" ? await readDense(source, path, device) : undefined;
      if (layer !== undefined) dense.push(layer);
      else if (!known.includes(kind)) unknownModules.push(kind);
    }
  } catch (error) {
    disposeTree(dense);
    throw error;
  }
  return {
    poolings,
    isNormalized: kinds.some(({ kind }) => kind === "Normalize"),
    ...(transformer.max_seq_length ? { maxTokens: transformer.max_seq_length } : {}),
    isLowercased: transformer.do_lower_case,
    prompts,
    ...(default_prompt_name ? { defaultPrompt: default_prompt_name } : {}),
    dense,
    unknownModules,
  };
}

/** A linear layer of a folder; undefined for another nonlinearity, and where its weights are no safetensors. */
async function readDense(source: FileSource, path: string, device: Device): Promise<DenseModule | undefined> {
  const file = `${path}/config.json`;
  const json = check(file, denseSchema, await readJson(source, file));
  const activation = activations[json.activation_function.split(".").at(-1) ?? ""];
  const name = "model.safetensors";
  const isThere = await source.size(`${path}/${name}`).then(
    () => true,
    () => false,
  );
  if (activation === undefined || !isThere) return undefined;
  const folder: FileSource = {
    list: () => [name],
    size: (inside) => source.size(`${path}/${inside}`),
    read: (inside, start, end) => source.read(`${path}/${inside}`, start, end),
  };
  const files = await openSafetensors(folder);
  if (!files.tensors.has("linear.weight")) return undefined;
  const names = ["linear.weight", "linear.bias"].filter((each) => files.tensors.has(each));
  const { "linear.weight": weight, "linear.bias": bias } = await loadTensors(files, { device, names });
  invariant(weight, "what is listed is loaded");
  return { weight, ...(bias === undefined ? {} : { bias }), activation };
}

function poolingsOf(file: string, json: unknown): readonly Pooling[] {
  const { pooling_mode: mode, ...switches } = check(file, poolingSchema, json);
  const found =
    mode === undefined
      ? Object.entries(poolingSwitches).flatMap(([name, pooling]) =>
          switches[name] === true ? [pooling] : [],
        )
      : mode.split("+").flatMap((name) => poolingNames[name] ?? []);
  if (found.length > 0) return found;
  const message = `loadModel: ${file} must switch on a pooling of ${Object.values(poolingNames).join(", ")}; got ${mode ?? "none"}. Mend the file, or pass \`pooling\`.`;
  throw new HeddleError("config", message, { file, mode });
}

function check<T>(file: string, schema: z.ZodType<T>, json: unknown): T {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues
    .map(({ path, message }) => `${path.join(".")} (${message})`)
    .join("; ");
  const message = `loadModel: ${file} must describe an embedding of texts; got ${problems}. Mend or remove it.`;
  throw new HeddleError("config", message, { file, problems });
}
