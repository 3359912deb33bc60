import type { Decoder } from "@heddle/models";
import { createEngine, type Engine, type EngineOptions } from "../src/engine.js";
import type { ServedModel, ServedTokenizer } from "../src/http/served-model.js";

/** Bytes are ids 0..255; then a text's beginning and end. */
export const beginId = 256;
export const endId = 257;
const vocabSize = 258;

/** A tokenizer whose tokens are UTF-8 bytes, so that characters break over tokens. */
export const byteTokenizer: ServedTokenizer = {
  encode: (text) => [beginId, ...new TextEncoder().encode(text)],
  encodeRendered: (text) => [...new TextEncoder().encode(text)],
  createDecoder() {
    const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
    return {
      push: (id) => (id < 256 ? utf8.decode(Uint8Array.of(id), { stream: true }) : ""),
      flush: () => utf8.decode(),
    };
  },
  tokenize(text) {
    const characters = [...text].flatMap((character, i, all) => {
      const start = all.slice(0, i).join("").length;
      const bytes = [...new TextEncoder().encode(character)];
      return bytes.map((id) => ({
        id,
        token: character,
        offset: [start, start + character.length] as const,
      }));
    });
    return {
      ids: characters.map(({ id }) => id),
      tokens: characters.map(({ token }) => token),
      offsets: characters.map(({ offset }) => offset),
    };
  },
  tokenText: (id) =>
    id < 256 ? new TextDecoder().decode(Uint8Array.of(id)) : id === endId ? "<end>" : "<begin>",
};

/** The fake model as a server offers it. */
export const fakeModel: ServedModel = {
  id: "fake-bytes",
  tokenizer: byteTokenizer,
  chat: {
    template:
      "{% for message in messages %}{% if message.role == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}" +
      "<{{ message.role }}>{{ message.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
  },
  defaults: { temperature: 0 },
  createdSeconds: 1_700_000_000,
  facts: { family: "fake" },
};

/** A fresh decoder and an engine over it. */
export function createFakeEngine(
  fake: FakeDecoderOptions = {},
  options: Partial<EngineOptions> = {},
): { decoder: FakeDecoder; engine: Engine } {
  const decoder = createFakeDecoder(fake);
  return {
    decoder,
    engine: createEngine({ decoder, tokenizer: byteTokenizer, endOfTextIds: [endId], ...options }),
  };
}

/** What a fake decoder does besides answering. */
export interface FakeDecoderOptions {
  readonly numSlots?: number;
  readonly maxSeqLen?: number;
  /** Time that a step takes, in milliseconds; default 0 (no timer at all). */
  readonly stepMs?: number;
  /** What the decoder says, byte by byte and round and round; default a pseudo-random letter from all tokens so far. */
  readonly says?: string;
  /** Answers are ended after this many tokens of prompt and answer; default never. */
  readonly endAfter?: number;
  /** Called before each step; a throw is a failing device. */
  readonly onStep?: (batch: Parameters<Decoder["step"]>[0], step: number) => void | Promise<void>;
}

/** A decoder and what it saw. */
export interface FakeDecoder extends Decoder {
  readonly steps: { numRows: number; numSequences: number }[];
  readonly isDisposed: boolean;
}

/**
 * Creates a deterministic decoder with a real cache: a row's logits depend on every token that was written
 * to its slot, so a wrong position, a mixed-up slot or a missing chunk changes the answer or throws.
 */
export function createFakeDecoder(options: FakeDecoderOptions = {}): FakeDecoder {
  const { numSlots = 4, maxSeqLen = 256, stepMs = 0 } = options;
  const cache = Array.from({ length: numSlots }, (): number[] => []);
  const steps: FakeDecoder["steps"] = [];
  let isDisposed = false;
  return {
    numSlots,
    maxSeqLen,
    vocabSize,
    cacheBytes: numSlots * maxSeqLen * 4,
    steps,
    get isDisposed() {
      return isDisposed;
    },
    async step(batch) {
      await options.onStep?.(batch, steps.length);
      if (stepMs > 0) await new Promise((resolve) => setTimeout(resolve, stepMs));
      steps.push({ numRows: batch.tokens.length, numSequences: new Set(batch.slots).size });
      const wanted = new Map<number, Float32Array>();
      const outputs = new Set(batch.outputs);
      batch.tokens.forEach((token, row) => {
        const sequence = writeRow(
          cache,
          { token, position: batch.positions[row], slot: batch.slots[row] },
          maxSeqLen,
        );
        if (outputs.has(row)) wanted.set(row, logitsAfter(sequence, options));
      });
      return Array.from(batch.outputs, (row) => wanted.get(row) ?? new Float32Array(0));
    },
    dispose() {
      isDisposed = true;
    },
  };
}

/** Writes a token where a key/value cache would and returns the sequence up to it. */
function writeRow(
  cache: readonly number[][],
  {
    token,
    position = -1,
    slot = -1,
  }: { token: number; position?: number | undefined; slot?: number | undefined },
  maxSeqLen: number,
): readonly number[] {
  const sequence = cache[slot];
  if (sequence === undefined) throw new Error(`fake decoder: no slot ${slot}`);
  if (position < 0 || position > sequence.length || position >= maxSeqLen) {
    throw new Error(`fake decoder: position ${position} after ${sequence.length} tokens in slot ${slot}`);
  }
  sequence.length = position; // what a former request left here must not matter
  sequence.push(token);
  return sequence;
}

function logitsAfter(sequence: readonly number[], { says, endAfter }: FakeDecoderOptions): Float32Array {
  const hash = sequence.reduce(
    (h, token, i) => Math.imul(h ^ (token + i * 31), 0x01000193) >>> 0,
    0x811c9dc5,
  );
  const logits = Float32Array.from(
    { length: vocabSize },
    (_, id) => noise(hash, id) - (id >= 97 && id <= 122 ? 0 : 20),
  );
  if (endAfter !== undefined && sequence.length >= endAfter) logits[endId] = 50;
  else if (says !== undefined) logits[nextByte(says, sequence)] = 30;
  return logits;
}

/** The byte of the saying that comes after what was said since the prompt's beginning. */
function nextByte(says: string, sequence: readonly number[]): number {
  const bytes = new TextEncoder().encode(says);
  return bytes[sequence.length % bytes.length] ?? 0;
}

/** Pseudo-random logit in 0..4 from the history's hash and the token's id. */
function noise(hash: number, id: number): number {
  let x = (hash ^ Math.imul(id + 1, 0x9e3779b1)) >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b) >>> 0;
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35) >>> 0;
  return ((x ^ (x >>> 16)) >>> 0) / 0x40000000;
}
