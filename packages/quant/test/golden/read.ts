import { type GoldenArrays, readGoldenArrays, readGoldenJson } from "../../../../tooling/golden/safetensors.js";

/** Opens a safetensors file that lies beside this module. */
export function readGolden(file: string): GoldenArrays {
  return readGoldenArrays(new URL(file, import.meta.url));
}

/** Blocks of each GGUF type and the values that ggml gives for them, as base64. */
export function readGgmlBlocks(): Readonly<
  Record<string, { readonly count: number; readonly bytes: string; readonly values: string }>
> {
  return readGoldenJson<{ dequantized: ReturnType<typeof readGgmlBlocks> }>(
    new URL("ggml-blocks.json", import.meta.url),
  ).dequantized;
}
