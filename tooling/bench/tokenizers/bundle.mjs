import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "vite";
import { cache, modelFile, sources } from "./files.mjs";

const root = fileURLToPath(new URL("../../..", import.meta.url));

/** Writes @heddle/tokenizers as the one module that is measured and returns its address. */
export async function writeHeddle() {
  mkdirSync(cache, { recursive: true });
  const entry = `${root}packages/tokenizers/src/index.ts`;
  const output = await build({
    configFile: false,
    root,
    logLevel: "error",
    build: {
      write: false,
      minify: false,
      target: "es2023",
      lib: { entry, formats: ["es"], fileName: "out" },
    },
  });
  const file = `${cache}/heddle.js`;
  writeFileSync(file, [output].flat()[0].output[0].code);
  return file;
}

/** Writes, by that module, the SentencePiece model file of Llama 2's tokenizer.json: a piece's score is its place. */
export async function writeModelFile(heddle) {
  const { createTokenizer, toSentencePiece } = await import(heddle);
  const { vocab } = JSON.parse(new TextDecoder().decode(sources["Llama-2"]())).model;
  const names = Object.keys(vocab).sort((a, b) => vocab[a] - vocab[b]);
  const firstOrdinary = 259;
  const pieces = names.map((piece, id) => {
    if (id < firstOrdinary)
      return { piece, score: 0, kind: id === 0 ? "unknown" : id < 3 ? "control" : "byte" };
    return { piece, score: /^\u2581{2,}$/.test(piece) ? -1e9 : firstOrdinary - id, kind: "normal" };
  });
  const shared = { type: "SentencePiece", byteFallback: true, addDummyPrefix: true };
  const spaces = { removeExtraWhitespaces: false, treatWhitespaceAsSuffix: false };
  const bytes = toSentencePiece(
    createTokenizer({
      normalizer: {
        ...{ ...shared, ...spaces, escapeWhitespaces: true },
        ...{ precompiledCharsmap: new Uint8Array(0), userDefinedSymbols: [] },
      },
      preTokenizer: null,
      model: { ...shared, ...spaces, algorithm: "bpe", pieces, unkId: 0 },
      postProcessor: null,
      decoder: {
        ...shared,
        ...spaces,
        unkPiece: "<unk>",
        unkSurface: " \u2047 ",
        controlPieces: ["<s>", "</s>"],
      },
      addedTokens: [],
    }),
  );
  writeFileSync(modelFile, bytes);
}
