import { readFileSync } from "node:fs";

/** One array of a golden file, decoded to plain numbers. */
export interface GoldenArray {
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array | Int8Array;
}

/** Reads a safetensors file that lies beside this module. */
export function readGolden(file: string): ReadonlyMap<string, GoldenArray> {
  const bytes = new Uint8Array(readFileSync(new URL(file, import.meta.url)));
  const headerLength = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }> = JSON.parse(
    new TextDecoder().decode(bytes.subarray(8, 8 + headerLength)),
  );
  const arrays = new Map<string, GoldenArray>();
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const [begin, end] = data_offsets;
    const raw = bytes.slice(8 + headerLength + begin, 8 + headerLength + end).buffer;
    arrays.set(name, { shape, data: decode(dtype, raw) });
  }
  return arrays;
}

function decode(dtype: string, raw: ArrayBuffer): GoldenArray["data"] {
  if (dtype === "F32") return new Float32Array(raw);
  if (dtype === "I32") return new Int32Array(raw);
  if (dtype === "I8") return new Int8Array(raw);
  throw new Error(`readGolden: knows F32, I32 and I8; got dtype ${dtype}.`);
}

/** Finds an array that the golden file must have. */
export function goldenArray(arrays: ReadonlyMap<string, GoldenArray>, name: string): GoldenArray {
  const found = arrays.get(name);
  if (found === undefined) throw new Error(`golden array ${name} is missing; the file has ${[...arrays.keys()]}`);
  return found;
}

export function readGoldenIndex<T>(file = "index.json"): T {
  return JSON.parse(readFileSync(new URL(file, import.meta.url), "utf8")) as T;
}
