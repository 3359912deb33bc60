import type { WgslKernel } from "../kernel.js";
import { bufferAt, wgslStep } from "../step.js";

export interface RandomCall {
  readonly elements: number;
  /** Fourth word of the counter, which keeps the uses of one key apart. */
  readonly stream: number;
  /** Random words, or numbers in [0, 1) with 24 bits. */
  readonly kind: "words" | "uniform";
}

/** Elements of a key's stream, four a thread. Buffers: key u32 [2], y. Twin: `randomWords`. */
export function randomWgsl({ elements, stream, kind }: RandomCall): WgslKernel {
  const value = (c: string) =>
    kind === "words" ? `words.${c}` : `f32(words.${c} >> 8u) * 5.9604644775390625e-8`;
  const step = wgslStep({
    buffers: [
      { name: "key", memory: bufferAt(0), dtype: "u32", access: "read" },
      { name: "y", memory: bufferAt(1), dtype: kind === "words" ? "u32" : "f32", access: "write" },
    ],
    params: { elements, stream },
    groups: Math.ceil(elements / 1024),
    body: `  let counter = group * 256u + thread;
  let i = counter * 4u;
  let words = h_philox(vec4u(counter, 0u, 0u, P.stream), vec2u(key[0], key[1]));
${["x", "y", "z", "w"].map((c, n) => `  if (i + ${n}u < P.elements) { y[i + ${n}u] = ${value(c)}; }`).join("\n")}`,
  });
  return { steps: [step] };
}

/** A key from a key and a number. Buffers: key u32 [2], number u32, y u32 [2]. */
export function foldInWgsl(stream: number): WgslKernel {
  const step = wgslStep({
    buffers: [
      { name: "key", memory: bufferAt(0), dtype: "u32", access: "read" },
      { name: "number", memory: bufferAt(1), dtype: "u32", access: "read" },
      { name: "y", memory: bufferAt(2), dtype: "u32", access: "write" },
    ],
    params: { stream },
    threads: 1,
    groups: 1,
    body: `  let words = h_philox(vec4u(number[0], 0u, 0u, P.stream), vec2u(key[0], key[1]));
  y[0] = words.x;
  y[1] = words.y;`,
  });
  return { steps: [step] };
}
