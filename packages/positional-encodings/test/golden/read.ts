import {
  type GoldenArrays,
  readGoldenArrays,
  readGoldenJson,
} from "../../../../tooling/golden/safetensors.js";

/** Opens a safetensors file that lies beside this module. */
export function readGolden(file: string): GoldenArrays {
  return readGoldenArrays(new URL(file, import.meta.url));
}

/** What the golden set says of its own cases. */
export function readGoldenIndex<T>(): T {
  return readGoldenJson<T>(new URL("index.json", import.meta.url));
}
