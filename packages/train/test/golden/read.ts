import { fileURLToPath } from "node:url";
import * as golden from "../../../../tooling/golden/safetensors.js";

/** Path of a golden file or folder beside this module. */
export function goldenPath(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}

export function readGoldenJson<T>(name: string): T {
  return golden.readGoldenJson<T>(new URL(name, import.meta.url));
}

/** Opens a safetensors file that lies beside this module. */
export function readGolden(name: string): golden.GoldenArrays {
  return golden.readGoldenArrays(new URL(name, import.meta.url));
}
