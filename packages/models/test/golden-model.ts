import { readdirSync, readFileSync } from "node:fs";
import { type FileSource, loadTensors, memorySource, openSafetensors } from "@heddle/checkpoints";
import { reference } from "@heddle/tensor";
import { readArchive } from "./golden-archive.js";

const golden = new URL("golden/", import.meta.url).pathname;

/** Models that lie open in folders; those of one kind of rotary scaling share their weights. */
const openNames = [
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

const archives = ["gpt", "dense", "experts"].map((name) => readArchive(`${golden}${name}.tar.gz`));

const packedNames = archives.flatMap((files) => [
  ...new Set([...files.keys()].map((path) => path.split("/")[0] ?? "")),
]);

/** Every golden decoder. */
export const goldenNames: readonly string[] = [...openNames, ...packedNames];

/** A few of all kinds, for suites that need not run on every one. */
export const sampleNames: readonly string[] = [
  "llama",
  "llama_sharded_bf16",
  "gpt2",
  "falcon_new",
  "gemma3",
  "deepseek_v3",
  "gpt_oss",
];

/** The directory of a golden model as Hugging Face wrote it. */
export function goldenSource(name: string): FileSource {
  return memorySource(goldenFiles(name));
}

/** The files of such a directory. */
export function goldenFiles(name: string): Record<string, Uint8Array> {
  return Object.fromEntries(filesOf(name).filter(([file]) => !file.startsWith("expected.")));
}

/** `config.json` or `config.legacy.json` of a golden model. */
export function goldenConfig(name: string, file = "config.json"): unknown {
  return JSON.parse(new TextDecoder().decode(fileOf(name, file)));
}

/** Whether a golden model has a file. */
export function hasGoldenFile(name: string, file: string): boolean {
  return filesOf(name).some(([found]) => found === file);
}

export interface GoldenArray {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

/** What Hugging Face computed with it. */
export async function goldenExpected(name: string): Promise<Readonly<Record<string, GoldenArray>>> {
  const source = memorySource({ "model.safetensors": fileOf(name, "expected.safetensors") });
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

function fileOf(name: string, file: string): Uint8Array {
  const found = filesOf(name).find(([path]) => path === file)?.[1];
  if (found === undefined) throw new Error(`the golden model ${name} has no ${file}`);
  return found;
}

function filesOf(name: string): [string, Uint8Array][] {
  for (const files of archives) {
    const own = [...files].filter(([path]) => path.startsWith(`${name}/`));
    if (own.length > 0) return own.map(([path, bytes]) => [path.slice(name.length + 1), bytes]);
  }
  const folders = name.startsWith("llama_rope_") ? [name, "llama_rope_weights"] : [name];
  return folders.flatMap((folder) =>
    readdirSync(golden + folder).map((file): [string, Uint8Array] => [
      file,
      new Uint8Array(readFileSync(`${golden}${folder}/${file}`)),
    ]),
  );
}
