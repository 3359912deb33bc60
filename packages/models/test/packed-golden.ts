import { readdirSync, readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { type FileSource, memorySource } from "@heddle/checkpoints";
import { type GoldenArrays, readGoldenArrays } from "../../../tooling/golden/safetensors.js";

const folder = (name: string) => new URL(`golden/${name}/`, import.meta.url);

export const encoderNames = [
  "bert",
  "bert_seqcls",
  "roberta",
  "distilbert",
  "albert",
  "electra",
  "deberta",
  "deberta_v2",
  "modernbert",
] as const;

/** Models of other architectures than the decoder's. */
export const packedNames = [
  "mamba",
  "mamba2",
  "rwkv",
  ...encoderNames,
  "xlnet",
  "t5",
  "t5_gated",
  "bart",
  "whisper",
] as const;

/** The directory of a golden model as Hugging Face wrote it; its tensors lie gzipped here. */
export function packedSource(name: string): FileSource {
  return memorySource(packedFiles(name));
}

/** The files of such a directory. */
export function packedFiles(name: string): Record<string, Uint8Array> {
  const files = readdirSync(folder(name)).filter((file) => !file.startsWith("expected."));
  const entries = files.map((file): [string, Uint8Array] => {
    const bytes = readFileSync(new URL(file, folder(name)));
    return file.endsWith(".gz")
      ? [file.slice(0, -3), new Uint8Array(gunzipSync(bytes))]
      : [file, new Uint8Array(bytes)];
  });
  return Object.fromEntries(entries);
}

/** `config.json` of such a directory; nothing else is read. */
export function packedConfig(name: string): unknown {
  return JSON.parse(readFileSync(new URL("config.json", folder(name)), "utf8"));
}

/** What Hugging Face computed with it, in float64. */
export function packedExpected(name: string): GoldenArrays {
  return readGoldenArrays(new URL("expected.safetensors.gz", folder(name)));
}

/** The rows of a golden matrix, and of the matrices of a golden stack of them. */
export function rowsOf(arrays: GoldenArrays, name: string): number[][] {
  const { shape, data } = arrays.get(name);
  const width = shape.at(-1) ?? 1;
  return Array.from({ length: data.length / width }, (_, row) =>
    Array.from(data.subarray(row * width, (row + 1) * width)),
  );
}
