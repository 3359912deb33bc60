import type { Decoder, LensCell } from "@heddle/models";
import type { ServedModel, ServedTokenizer } from "@heddle/serve/http";

const text = `Once upon a time, there was a little fox who lived near a quiet river. Every morning the fox went down to the water to see the boats. One day a small red boat came by with nobody in it. "Who lost you?" asked the fox. The boat did not say a word. So the fox tied the boat to a tree and went to look for its owner. On the way she met an old duck. "Did you lose a boat?" asked the fox. "No," said the duck, "but I saw a girl who was crying by the bridge." The fox ran to the bridge. A girl was sitting there with her feet in the water. "My boat went away," said the girl. The fox smiled and took the girl to the tree. The girl was so happy that she gave the fox a ride. From that day on, the little fox and the girl went down the river every morning. One day the old duck came by. "Who is there?" asked the girl. The duck did not say a word, but the fox smiled. The little boat was red and the water was quiet. There was a time when nobody went near the river. `;

const pieces = / ?[A-Za-z]+|\s+|[^A-Za-z\s]/g;
const words = text.match(pieces) ?? [];
const vocabulary = [
  ...new Set(words),
  ..."abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 \n.,;:!?'\"“”",
];
const idOf = new Map(vocabulary.map((word, id) => [word, id]));
const endId = vocabulary.length;
const vocabSize = vocabulary.length + 1;

/** Words of the story where they are known, else letters; characters beyond those become "?". */
function split(given: string): string[] {
  return (given.match(pieces) ?? []).flatMap((piece) => (idOf.has(piece) ? [piece] : [...piece]));
}

const idOfPiece = (piece: string): number => idOf.get(piece) ?? idOf.get("?") ?? 0;

const tokenizer: ServedTokenizer = {
  encode: (given) => split(given).map(idOfPiece),
  encodeRendered: (given) => split(given).map(idOfPiece),
  createDecoder: () => ({ push: (id) => vocabulary[id] ?? "", flush: () => "" }),
  tokenize(given) {
    const tokens = split(given);
    const ends = tokens.map((_, i) => tokens.slice(0, i + 1).join("").length);
    return {
      ids: tokens.map(idOfPiece),
      tokens,
      offsets: tokens.map((token, i) => [(ends[i] ?? 0) - token.length, ends[i] ?? 0] as const),
    };
  },
  tokenText: (id) => vocabulary[id] ?? "<end>",
};

/** A model that tells foxes' stories, as a server offers it. */
export const storyModel: ServedModel = {
  id: "fox-stories",
  tokenizer,
  // It names roles, as the template of a model that was taught to chat does: the page begins with the chat.
  chat: { template: "{% for message in messages if message.role %}{{ message.content }} {% endfor %}" },
  defaults: { temperature: 0.8 },
  createdSeconds: 1_700_000_000,
  facts: { parameters: "3.1M", vocabulary: vocabSize },
  lens: { numLayers: 4, read: async (ids, { top }) => storyLens(ids, top) },
};

/** Layers that are surer and surer of what the last one says. */
function storyLens(ids: readonly number[], top: number): readonly (readonly LensCell[])[] {
  return [0, 1, 2, 3, 4].map((layer) =>
    ids.map((_, position) => {
      const weights = logitsAfter(ids.slice(0, position + 1)).map((logit) => Math.exp((logit * layer) / 4));
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      const shares = Array.from(weights, (weight, id) => ({ id, probability: weight / total }));
      const entropy = shares.reduce((sum, { probability }) => sum - probability * Math.log(probability), 0);
      return { entropy, top: shares.sort((a, b) => b.probability - a.probability).slice(0, top) };
    }),
  );
}

export const storyEndIds = [endId];

/** Creates a decoder that puts the story's words together by what followed the last one and two. */
export function createStoryDecoder({ numSlots = 8, maxSeqLen = 512, stepMs = 12 } = {}): Decoder {
  const cache = Array.from({ length: numSlots }, (): number[] => []);
  return {
    numSlots,
    maxSeqLen,
    vocabSize,
    cacheBytes: numSlots * maxSeqLen * 6144,
    async step({ tokens, positions, slots, outputs }) {
      await new Promise((resolve) => setTimeout(resolve, stepMs));
      tokens.forEach((token, row) => {
        const sequence = cache[slots[row] ?? 0] ?? [];
        sequence.length = positions[row] ?? 0;
        sequence.push(token);
      });
      return Array.from(outputs, (row) => logitsAfter(cache[slots[row] ?? 0] ?? []));
    },
    dispose() {},
  };
}

function logitsAfter(sequence: readonly number[]): Float32Array {
  const logits = new Float32Array(vocabSize).fill(-6);
  const [before, last] = [vocabulary[sequence.at(-2) ?? -1], vocabulary[sequence.at(-1) ?? -1]];
  for (let i = 1; i < words.length; i++) {
    if (words[i - 1] !== last) continue;
    const id = idOfPiece(words[i] ?? "");
    logits[id] = Math.max(logits[id] ?? 0, 0) + (words[i - 2] === before ? 2.2 : 1);
  }
  if (last === undefined || Math.max(...logits) < 0) logits[idOfPiece(" the")] = 2;
  return logits;
}
