/**
 * Encoding and decoding speed in MB/s of UTF-8, one thread.
 *
 * Run `npm run bench` in this package; HEDDLE_DATA names the folder with the texts.
 * Cold is the first pass of a fresh tokenizer over 1 MB, warm the best of the passes after it.
 */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { performance } from "node:perf_hooks";
import { createTokenizer, fromSentencePiece, type Tokenizer } from "../src/index.js";

const folder = resolve(process.env.HEDDLE_DATA ?? "../../../shared/data");
const read = (...path: string[]) => readFileSync(join(folder, ...path), "utf8");

function gpt2(): Tokenizer {
  const byteLevel = { type: "ByteLevel", addPrefixSpace: false, trimOffsets: false, useRegex: true } as const;
  const merges = read("tokenizer", "gpt2", "merges.txt")
    .split("\n")
    .filter((line) => /^\S+ \S+$/.test(line));
  const vocab = JSON.parse(read("tokenizer", "gpt2", "vocab.json")) as Record<string, number>;
  return createTokenizer({
    normalizer: null,
    preTokenizer: byteLevel,
    model: {
      type: "BPE",
      vocab: Object.entries(vocab),
      merges: merges.map((line) => line.split(" ") as [string, string]),
      unkToken: null,
      continuingSubwordPrefix: null,
      endOfWordSuffix: null,
      fuseUnk: false,
      byteFallback: false,
      ignoreMerges: false,
    },
    postProcessor: byteLevel,
    decoder: byteLevel,
    addedTokens: [],
  });
}

function mistral(): Tokenizer {
  return fromSentencePiece(
    new Uint8Array(readFileSync(join(folder, "tokenizer", "mistral", "tokenizer.model.v3"))),
  );
}

const texts: Record<string, string> = {
  English: read("text", "tinyshakespeare.txt").slice(0, 1_000_000),
  encyclopedia: read("text", "wikitext-2", "test.txt").slice(0, 1_000_000),
  Chinese: read("text", "zh", "hongloumeng.txt").slice(0, 400_000),
};

function timeMs(work: () => void): number {
  const start = performance.now();
  work();
  return performance.now() - start;
}

function speed(bytes: number, ms: number): string {
  return (bytes / 1e3 / ms).toFixed(1).padStart(7);
}

console.log("tokenizer    text          ids cold   warm   offsets  decode  (MB/s)");
for (const [name, create] of Object.entries({ "GPT-2": gpt2, "Mistral v3": mistral })) {
  console.log(`${name} loads in ${timeMs(() => void create()).toFixed(0)} ms`);
  for (const [title, text] of Object.entries(texts)) {
    const bytes = Buffer.byteLength(text);
    const tokenizer = create();
    const cold = timeMs(() => void tokenizer.encodeIds(text));
    const passes = (work: () => void) => Math.min(...Array.from({ length: 5 }, () => timeMs(work)));
    const warm = passes(() => void tokenizer.encodeIds(text));
    const offsets = passes(() => void tokenizer.encode(text).starts);
    const ids = tokenizer.encodeIds(text);
    const decode = passes(() => void tokenizer.decode(ids));
    const row = [cold, warm, offsets, decode].map((ms) => speed(bytes, ms)).join(" ");
    console.log(`${name.padEnd(12)} ${title.padEnd(13)} ${row}`);
  }
}
