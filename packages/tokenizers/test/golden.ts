import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";

const folder = join(import.meta.dirname, "golden");

/** Reads a golden file's bytes; a name that ends in .gz is unpacked. */
export function goldenBytes(name: string): Uint8Array {
  const bytes = readFileSync(join(folder, name));
  return new Uint8Array(name.endsWith(".gz") ? gunzipSync(bytes) : bytes);
}

/** Reads a golden JSON file; its form is known from the golden set's own description. */
export function goldenJson<Value>(name: string): Value {
  return JSON.parse(new TextDecoder().decode(goldenBytes(name))) as Value;
}

/** The 300 inputs that most goldens share. */
export const goldenStrings = goldenJson<string[]>("strings.json");

/** Turns offsets in code points, as the Hugging Face goldens have them, into UTF-16 units. */
export function toUtf16(text: string, offsets: readonly (readonly [number, number])[]): [number, number][] {
  const units = [0];
  for (const char of text) units.push((units.at(-1) as number) + char.length);
  return offsets.map(([start, end]) => [units[start] as number, units[end] as number]);
}
