import { readdirSync, readFileSync } from "node:fs";
import { type FileSource, loadTensors, memorySource, openSafetensors } from "@heddle/checkpoints";
import { reference } from "@heddle/tensor";

const golden = new URL("golden/", import.meta.url).pathname;

/** The golden models; those of one kind of rotary scaling share their weights. */
export const goldenNames = [
  "llama",
  "llama_f16",
  "llama_sharded_bf16",
  "llama_rope_linear",
  "llama_rope_llama3",
  "llama_rope_yarn",
  "llama_rope_dynamic",
  "llama_rope_longrope",
  "gpt2",
] as const;

/** The directory of a golden model as Hugging Face wrote it. */
export function goldenSource(name: string): FileSource {
  const folders = name.startsWith("llama_rope_") ? [name, "llama_rope_weights"] : [name];
  return memorySource(Object.fromEntries(folders.flatMap(filesIn)));
}

/** `config.json` or `config.legacy.json` of a golden model. */
export function goldenConfig(name: string, file = "config.json"): unknown {
  return JSON.parse(readFileSync(`${golden}${name}/${file}`, "utf8"));
}

export interface GoldenArray {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

/** What Hugging Face computed with it. */
export async function goldenExpected(name: string): Promise<Readonly<Record<string, GoldenArray>>> {
  const file = new Uint8Array(readFileSync(`${golden}${name}/expected.safetensors`));
  const source = memorySource({ "model.safetensors": file });
  const tensors = await loadTensors(await openSafetensors(source), { device: reference() });
  const entries = Object.entries(tensors).map(async ([key, x]): Promise<[string, GoldenArray]> => {
    return [key, { shape: x.shape, data: Float64Array.from(await x.data()) }];
  });
  return Object.fromEntries(await Promise.all(entries));
}

/** The rows of a golden matrix. */
export function rowsOf(array: GoldenArray | undefined): number[][] {
  if (array === undefined) throw new Error("the golden file has no such array");
  const width = array.shape.at(-1) ?? 1;
  const count = array.data.length / width;
  return Array.from({ length: count }, (_, row) =>
    Array.from(array.data.subarray(row * width, (row + 1) * width)),
  );
}

function filesIn(folder: string): [string, Uint8Array][] {
  return readdirSync(golden + folder)
    .filter((name) => !name.startsWith("expected."))
    .map((name) => [name, new Uint8Array(readFileSync(`${golden}${folder}/${name}`))]);
}
