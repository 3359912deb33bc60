import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "vite";
import { cache, sources } from "./files.mjs";

const root = fileURLToPath(new URL("../../..", import.meta.url));

/** Writes @heddle/tokenizers as the one module that is measured, and the model file that it makes of a
 * tokenizer.json. Returns the module's address. */
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
  writeFileSync(`${cache}/llama2.model`, llama2Model(await import(file)));
  return file;
}

/** The SentencePiece model file that Llama 2's tokenizer.json was made from: a piece's score is its place. */
function llama2Model({ createTokenizer, toSentencePiece }) {
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
  return toSentencePiece(
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
}
