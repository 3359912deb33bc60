// Writes GGUF files of random weights in the shapes of real models: speed does not depend on what the weights say.
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { type GgufTensorData, ggmlTypeInfo, writeGguf } from "@heddle/checkpoints";
import { directorySink } from "@heddle/checkpoints/node";
import { type BenchType, metadataOf, type Shape, shapes, tensorShapes } from "./shapes.ts";

/** Folder for the files, outside of the repository; HEDDLE_BENCH_CACHE names another. */
export const cacheFolder = process.env.HEDDLE_BENCH_CACHE ?? join(homedir(), ".cache", "heddle", "bench");

/** Path of the file of a shape and a type, which is written if it is not there yet. */
export async function randomGguf(shapeName: string, type: BenchType): Promise<string> {
  const shape = shapes[shapeName];
  if (shape === undefined) throw new Error(`shape must be one of ${Object.keys(shapes)}; got ${shapeName}`);
  const file = `random-${shapeName}-${type}.gguf`;
  const path = join(cacheFolder, file);
  if (existsSync(path)) return path;
  await writeGguf(directorySink(cacheFolder), file, {
    metadata: metadataOf(shape, { type }),
    tensors: randomTensors(shape, type),
  });
  return path;
}

function randomTensors(shape: Shape, type: BenchType): ReadonlyMap<string, GgufTensorData> {
  const random = xorshift(1);
  const entries = [...tensorShapes(shape)].map(([name, sizes]): [string, GgufTensorData] => {
    const count = sizes.reduce((product, size) => product * size, 1);
    if (sizes.length === 1) {
      const value = name.endsWith("norm.weight") ? 1 : 0.01;
      const values = new Float32Array(count).fill(value);
      return [name, { type: "F32", shape: sizes, bytes: new Uint8Array(values.buffer) }];
    }
    // Keeps activations of the size that real models have.
    const deviation = (sizes[1] ?? 1) ** -0.5;
    return [
      name,
      { type, shape: sizes, bytes: async () => randomBlocks(type, { count, deviation, random }) },
    ];
  });
  return new Map(entries);
}

/** Blocks with uniform quants and one scale such that the values have about the deviation asked for. */
function randomBlocks(
  type: BenchType,
  {
    count,
    deviation,
    random,
  }: { readonly count: number; readonly deviation: number; readonly random: () => number },
): Uint8Array {
  const { blockSize, blockBytes } = ggmlTypeInfo(type);
  const words = new Uint32Array(Math.ceil(((count / blockSize) * blockBytes) / 4));
  for (let i = 0; i < words.length; i++) words[i] = random();
  const bytes = new Uint8Array(words.buffer, 0, (count / blockSize) * blockBytes);
  if (type === "F16") {
    const halves = Uint16Array.from({ length: 4096 }, () =>
      halfBits(deviation * ((random() / 2 ** 31 - 1) * 1.7)),
    );
    const out = new Uint16Array(bytes.buffer, 0, count);
    for (let i = 0; i < count; i++) out[i] = halves[(out[i] ?? 0) & 4095] ?? 0;
    return bytes;
  }
  // Uniform quants of 16 and 256 steps deviate by 4.6 and 74 steps.
  const scale = halfBits(deviation / (type === "Q4_0" ? 4.6 : 74));
  for (let at = 0; at < bytes.length; at += blockBytes) {
    bytes[at] = scale & 255;
    bytes[at + 1] = scale >> 8;
  }
  return bytes;
}

/** Bits of a normal half float near the value. */
function halfBits(value: number): number {
  const size = Math.abs(value);
  const exponent = Math.floor(Math.log2(Math.max(size, 2 ** -14)));
  const fraction = Math.min(1023, Math.max(0, Math.round((size / 2 ** exponent - 1) * 1024)));
  return (value < 0 ? 0x8000 : 0) | ((exponent + 15) << 10) | fraction;
}

/** Marsaglia's xorshift, 32 bits: the same files everywhere. @see Marsaglia 2003, Xorshift RNGs */
function xorshift(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}
