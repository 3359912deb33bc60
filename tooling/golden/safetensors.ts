// Reads the files of golden data in tests: safetensors, gzipped or not, decoded without any package of ours.
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

type Numbers = Float64Array | Float32Array | Int32Array | Int8Array | Uint8Array;

/** One array of a golden file, as plain numbers. F16 and BF16 are given as their bits. */
export interface GoldenArray {
  readonly shape: readonly number[];
  readonly data: Numbers;
}

/** The arrays of a golden file by name; asking for one that it does not hold is an error that lists what it has. */
export interface GoldenArrays {
  readonly names: readonly string[];
  get(name: string): GoldenArray;
  has(name: string): boolean;
}

const decoders: Readonly<Record<string, (raw: ArrayBuffer) => Numbers>> = {
  F64: (raw) => new Float64Array(raw),
  F32: (raw) => new Float32Array(raw),
  F16: (raw) => Int32Array.from(new Uint16Array(raw)),
  BF16: (raw) => Int32Array.from(new Uint16Array(raw)),
  I32: (raw) => new Int32Array(raw),
  I8: (raw) => new Int8Array(raw),
  U8: (raw) => new Uint8Array(raw),
};

/** Opens a safetensors file; one whose name ends in ".gz" is unpacked first. */
export function readGoldenArrays(file: URL): GoldenArrays {
  const stored = readFileSync(file);
  const bytes = new Uint8Array(file.pathname.endsWith(".gz") ? gunzipSync(stored) : stored);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const start = 8 + Number(view.getBigUint64(0, true));
  const header: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }> = JSON.parse(
    new TextDecoder().decode(bytes.subarray(8, start)),
  );
  const names = Object.keys(header).filter((name) => name !== "__metadata__");
  return {
    names,
    has: (name) => name !== "__metadata__" && name in header,
    get(name) {
      const entry = header[name];
      if (entry === undefined) throw new Error(`${file.pathname} has no ${name}; it has ${names.join(", ")}.`);
      const decode = decoders[entry.dtype];
      if (decode === undefined)
        throw new Error(`golden files hold ${Object.keys(decoders)}; got ${entry.dtype} of ${name}.`);
      const [begin, end] = entry.data_offsets;
      return { shape: entry.shape, data: decode(bytes.slice(start + begin, start + end).buffer) };
    },
  };
}

/** Reads a JSON file, gzipped or not. */
export function readGoldenJson<T>(file: URL): T {
  const stored = readFileSync(file);
  const text = file.pathname.endsWith(".gz") ? gunzipSync(stored).toString("utf8") : stored.toString("utf8");
  return JSON.parse(text) as T;
}

/** Readers of the golden files that lie beside a module, given its `import.meta.url`. */
export interface GoldenFolder {
  /** Opens a safetensors file. */
  readonly readGolden: (file: string) => GoldenArrays;
  /** What the golden set says of its own cases: `index.json`. */
  readonly readGoldenIndex: <T>() => T;
}

export function goldenFolder(moduleUrl: string): GoldenFolder {
  return {
    readGolden: (file) => readGoldenArrays(new URL(file, moduleUrl)),
    readGoldenIndex: <T>() => readGoldenJson<T>(new URL("index.json", moduleUrl)),
  };
}
