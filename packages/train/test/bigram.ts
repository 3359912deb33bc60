import { type Device, embedding, randn, type Tensor } from "@heddle/tensor";
import { causalLm } from "../src/objective.js";

/** The smallest language model: each token's embedding, read by a matrix. 97 characters. */
export interface Bigram {
  readonly table: Tensor;
  readonly layers: readonly { readonly weight: Tensor }[];
}

export const vocabSize = 97;

export function createBigram(device: Device, seed = 1): Bigram {
  return {
    table: randn(device, [vocabSize, 8], { seed }),
    layers: [{ weight: randn(device, [vocabSize, 8], { seed: seed + 1 }) }],
  };
}

export const bigramObjective = causalLm<Bigram>((weights, ids) => {
  const [last] = weights.layers;
  const hidden = embedding(ids, weights.table).tanh();
  return last === undefined ? hidden : last.weight.apply(hidden);
});

/** Printable ASCII as ids 1..96; 0 ends a text. */
export function encodeCharacters(text: string): number[] {
  return Array.from(text, (character) => Math.min(96, Math.max(1, character.charCodeAt(0) - 31)));
}

/** Texts of words in which a letter tells much about the next one. */
export function createTexts(count: number): string[] {
  const words = [
    "once upon a time",
    "the cat",
    "sat on the mat",
    "and then",
    "a little dog",
    "ran home",
    "the end.",
  ];
  return Array.from({ length: count }, (_, at) =>
    Array.from(
      { length: 3 + (at % 5) },
      (__, i) => words[(at * 7 + i * i * 3 + (at >> 2)) % words.length],
    ).join(" "),
  );
}
