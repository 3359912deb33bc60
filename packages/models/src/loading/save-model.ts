import { type FileSink, saveTensors, writeText } from "@heddle/checkpoints";
import { flattenTree, HeddleError, narrow, scope, Tensor } from "@heddle/tensor";
import type { ModelConfig } from "../config.js";
import { configToJson } from "./parse-config.js";
import { putTogether } from "./stored-layout.js";
import { type StoredPart, type StoredWeight, storedWeights } from "./weight-map.js";

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
  { config, weights }: { readonly config: ModelConfig; readonly weights: unknown },
  { maxShardBytes, files = {}, extraConfig = {} }: SaveModelOptions = {},
): Promise<void> {
  const byPath = denseWeights(weights);
  const own = new Set(byPath.values());
  const named: Record<string, Tensor> = {};
  try {
    for (const stored of storedWeights(config)) named[stored.name] = storedTensor(stored, byPath);
    await saveTensors(sink, named, { maxShardBytes });
  } finally {
    for (const tensor of Object.values(named)) if (!own.has(tensor)) tensor.dispose();
  }
  const dtype = torchNames[[...own][0]?.dtype ?? "f32"];
  const json = { ...configToJson(config), torch_dtype: dtype, ...extraConfig };
  await writeText(sink, "config.json", `${JSON.stringify(json, null, 2)}\n`);
  for (const [name, content] of Object.entries(files)) {
    if (typeof content === "string") await writeText(sink, name, content);
    else await sink.write(name, [content]);
  }
}

function denseWeights(weights: unknown): ReadonlyMap<string, Tensor> {
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
function storedTensor(stored: StoredWeight, byPath: ReadonlyMap<string, Tensor>): Tensor {
  const own = stored.parts.map((part) => partTensor(stored.name, part, byPath));
  const [first] = own;
  const isOwn = own.length === 1 && !stored.isTransposed && stored.parts[0]?.slice === undefined;
  if (first === undefined || isOwn) return putTogether(own, stored);
  return scope(first.device, () => {
    const parts = own.map((tensor, at) => sliceOf(tensor, stored.parts[at]));
    return putTogether(parts, stored);
  });
}

function sliceOf(tensor: Tensor, part: StoredPart | undefined): Tensor {
  if (part?.slice === undefined) return tensor;
  const { index } = part.slice;
  return narrow(tensor, 0, [index, index + 1]).reshape(part.shape);
}

function partTensor(
  name: string,
  { path, slice, shape: partShape }: StoredPart,
  byPath: ReadonlyMap<string, Tensor>,
): Tensor {
  const tensor = byPath.get(path);
  const shape = slice === undefined ? partShape : [slice.count, ...partShape];
  if (tensor !== undefined && tensor.shape.join() === shape.join()) return tensor;
  const got = tensor === undefined ? "none" : `[${tensor.shape.join(", ")}]`;
  const message = `saveModel: the weights must fit the configuration; got ${got} for "${path}" (${name}), expected [${shape.join(", ")}]. Pass the configuration that they were made with.`;
  throw new HeddleError("shape", message, { path, expected: shape, got: tensor?.shape });
}
