// Times of n, 2n and 4n units of hard texts for each algorithm: one word of a million letters, repeats, one long line.
//   node tooling/bench/tokenizers/scaling.mjs [--units 250000]
import { parseArgs } from "node:util";
import { writeHeddle } from "./bundle.mjs";
import { texts } from "./files.mjs";
import { machineLine } from "./machine.mjs";

const { values: options } = parseArgs({ options: { units: { type: "string", default: "250000" } } });
const heddle = await import(await writeHeddle());

const corpus = texts.English().slice(0, 200_000);
const lines = corpus.split("\n");
const byteLevel = await heddle.trainByteLevelBpe(lines, { vocabSize: 2000 });
const whole = (tokenizer) =>
  heddle.createTokenizer({
    ...tokenizer.config,
    preTokenizer: { type: "ByteLevel", addPrefixSpace: false, trimOffsets: false, useRegex: false },
  });
const sentencePiece = (modelType) => heddle.trainSentencePiece(lines, { modelType, vocabSize: 1000 });
const words = [...new Set(corpus.match(/[a-z]+/g))];
const vocab = [
  "[PAD]",
  "[UNK]",
  "[CLS]",
  "[SEP]",
  ..."abcdefghijklmnopqrstuvwxyz",
  ...[..."abcdefghijklmnopqrstuvwxyz"].map((c) => `##${c}`),
  ...words.filter((word) => word.length > 1).slice(0, 3000),
];
const wordPiece = heddle.fromVocabTxt(vocab.join("\n"));
const tokenizers = {
  "byte-level BPE": byteLevel,
  "byte-level BPE, text as one word": whole(byteLevel),
  "SentencePiece BPE": await sentencePiece("bpe"),
  "SentencePiece unigram": await sentencePiece("unigram"),
  WordPiece: wordPiece,
  "WordPiece, no limit on words": heddle.createTokenizer({
    ...wordPiece.config,
    model: { ...wordPiece.config.model, maxInputCharsPerWord: Number.MAX_SAFE_INTEGER },
  }),
};

let state = 1;
const random = (limit) => {
  state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
  return (state >>> 8) % limit;
};
const letters = (n) => Array.from({ length: n }, () => String.fromCharCode(97 + random(26))).join("");
const kinds = {
  "one word of letters": letters,
  "one letter again": (n) => "a".repeat(n),
  "two letters in turn": (n) => "ab".repeat(n / 2),
  "one line of words": (n) =>
    corpus
      .replaceAll("\n", " ")
      .repeat(Math.ceil(n / corpus.length))
      .slice(0, n),
  spaces: (n) => " ".repeat(n),
};

const n = Number(options.units);
console.log(machineLine());
console.log(`\n| | | ms for ${n} | ${2 * n} | ${4 * n} units | 4n / n |\n|---|---|--:|--:|--:|--:|`);
for (const [name, tokenizer] of Object.entries(tokenizers)) {
  tokenizer.encodeIds(corpus);
  for (const [kind, make] of Object.entries(kinds)) {
    const times = [1, 2, 4].map((factor) => {
      const text = make(n * factor);
      const best = [0, 1, 2].map(() => {
        const start = performance.now();
        tokenizer.encodeIds(text);
        return performance.now() - start;
      });
      return Math.min(...best);
    });
    console.log(
      `| ${name} | ${kind} | ${times.map((ms) => ms.toFixed(0)).join(" | ")} | ${(times[2] / times[0]).toFixed(1)} |`,
    );
  }
}
