import { type FileSink, saveTensors, writeText } from "@heddle/checkpoints";
import { concat, flattenTree, HeddleError, invariant, scope, Tensor } from "@heddle/tensor";
import type { DecoderConfig } from "./config.js";
import { configToJson } from "./parse-config.js";
import { type StoredWeight, storedWeights } from "./weight-map.js";
import type { DecoderWeights } from "./weights.js";

export interface SaveModelOptions {
  /** Most data bytes of one weight file. Default: one file. */
  readonly maxShardBytes?: number;
  /** Further files of the directory by name, such as `tokenizer.json`: text or bytes. */
  readonly files?: Readonly<Record<string, string | Uint8Array>>;
  /** Added to config.json. */
  readonly extraConfig?: Readonly<Record<string, unknown>>;
}

const torchNames: Readonly<Record<string, string>> = {
  f64: "float64",
  f32: "float32",
  f16: "float16",
  bf16: "bfloat16",
};

/**
 * Writes a model as a Hugging Face directory: config.json and model.safetensors under the names of its family.
 *
 * Borrows the weights, which must be dense.
 * @throws HeddleError "unsupported" naming a weight that is not a Tensor
 */
export async function saveModel(
  sink: FileSink,
  { config, weights }: { readonly config: DecoderConfig; readonly weights: DecoderWeights },
  { maxShardBytes, files = {}, extraConfig = {} }: SaveModelOptions = {},
): Promise<void> {
  const byPath = denseWeights(weights);
  const own = new Set(byPath.values());
  const named: Record<string, Tensor> = {};
  try {
    for (const stored of storedWeights(config)) named[stored.name] = putTogether(stored, byPath);
    await saveTensors(sink, named, { maxShardBytes });
  } finally {
    for (const tensor of Object.values(named)) if (!own.has(tensor)) tensor.dispose();
  }
  const dtype = torchNames[weights.embedding.dtype];
  const json = { ...configToJson(config), torch_dtype: dtype, ...extraConfig };
  await writeText(sink, "config.json", `${JSON.stringify(json, null, 2)}\n`);
  for (const [name, content] of Object.entries(files)) {
    if (typeof content === "string") await writeText(sink, name, content);
    else await sink.write(name, [content]);
  }
}

function denseWeights(weights: DecoderWeights): ReadonlyMap<string, Tensor> {
  const { leaves, paths } = flattenTree(weights);
  return new Map(
    leaves.flatMap((leaf, at): [string, Tensor][] => {
      const path = paths[at] ?? "";
      if (leaf === undefined) return [];
      if (leaf instanceof Tensor) return [[path, leaf]];
      const message = `saveModel: every weight must be a dense Tensor; got another kind at "${path}". Merge or dequantise it first.`;
      throw new HeddleError("unsupported", message, { path });
    }),
  );
}

/** The tensor as a checkpoint holds it: our own where they are the same, else a new one. */
function putTogether(
  { name, isTransposed, parts }: StoredWeight,
  byPath: ReadonlyMap<string, Tensor>,
): Tensor {
  const own = parts.map(({ path, shape }) => {
    const tensor = byPath.get(path);
    if (tensor !== undefined && tensor.shape.join() === shape.join()) return tensor;
    const got = tensor === undefined ? "none" : `[${tensor.shape.join(", ")}]`;
    const message = `saveModel: the weights must fit the configuration; got ${got} for "${path}" (${name}), expected [${shape.join(", ")}]. Pass the configuration that they were made with.`;
    throw new HeddleError("shape", message, { path, expected: shape, got: tensor?.shape });
  });
  const [first] = own;
  invariant(first, `${name} has parts`);
  if (own.length === 1 && !isTransposed) return first;
  return scope(first.device, () => {
    const rows = own.length === 1 ? first : concat(own, { axis: 0 });
    return isTransposed ? rows.transpose([1, 0]) : rows;
  });
}
