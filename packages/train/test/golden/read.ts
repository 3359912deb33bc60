import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** One array of a golden file, as plain numbers. */
export interface GoldenArray {
  readonly shape: readonly number[];
  readonly data: Float32Array | Float64Array | Int32Array;
}

/** Path of a golden file or folder beside this module. */
export function goldenPath(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}

export function readGoldenJson<T>(name: string): T {
  return JSON.parse(readFileSync(goldenPath(name), "utf8")) as T;
}

/** Reads a safetensors file beside this module; asking it for an array that it does not hold is an error. */
export function readGolden(name: string): { readonly names: readonly string[]; get(array: string): GoldenArray } {
  const bytes = new Uint8Array(readFileSync(goldenPath(name)));
  const start = 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }> = JSON.parse(
    new TextDecoder().decode(bytes.subarray(8, start)),
  );
  const names = Object.keys(header).filter((key) => key !== "__metadata__");
  return {
    names,
    get(array) {
      const entry = header[array];
      if (entry === undefined) throw new Error(`${name} has no ${array}; it has ${names.join(", ")}.`);
      const [from, to] = entry.data_offsets;
      return { shape: entry.shape, data: decode(entry.dtype, bytes.slice(start + from, start + to).buffer) };
    },
  };
}

function decode(dtype: string, raw: ArrayBuffer): GoldenArray["data"] {
  if (dtype === "F32") return new Float32Array(raw);
  if (dtype === "F64") return new Float64Array(raw);
  if (dtype === "I32") return new Int32Array(raw);
  throw new Error(`readGolden: knows F32, F64 and I32; got dtype ${dtype}.`);
}
