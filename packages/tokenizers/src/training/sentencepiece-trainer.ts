import { HeddleError } from "../error.js";
import { tokenizerOfFile } from "../formats/sentencepiece.js";
import type { Piece } from "../models/sentencepiece-pieces.js";
import type { Tokenizer } from "../tokenizer.js";
import { trainBpePieces } from "./sentencepiece/bpe.js";
import { charPieces, type Learned, wordPieces } from "./sentencepiece/frequency.js";
import { layMetaPieces } from "./sentencepiece/meta-pieces.js";
import {
  completeOptions,
  type SentencePieceSpec,
  type TrainSentencePieceOptions,
} from "./sentencepiece/options.js";
import { readSentences, type SentenceCorpus } from "./sentencepiece/sentences.js";
import { trainUnigramPieces } from "./sentencepiece/unigram.js";

/**
 * Trains a SentencePiece model: "unigram", "bpe", "word" or "char".
 *
 * Pieces, ids and scores are those of SentencePiece 0.2.2.
 *
 * @param texts  lines, read once; all but "unigram" keep only their distinct words
 * @returns a tokenizer; `toSentencePiece` makes a `.model` file of it
 * @throws HeddleError "config" if vocabSize has no room for symbols and characters, or the corpus is empty; the signal's
 *   reason if stopped
 * @see Kudo and Richardson 2018, SentencePiece, arXiv:1808.06226
 */
export async function trainSentencePiece(
  texts: Iterable<string> | AsyncIterable<string>,
  options: TrainSentencePieceOptions,
): Promise<Tokenizer> {
  const spec = completeOptions(options);
  const meta = layMetaPieces(spec);
  const corpus = await readSentences(texts, spec, {
    keepSentences: spec.modelType === "unigram",
    symbols: Array.from(meta.values(), ({ piece }) => piece),
    control: options,
  });
  const room = spec.vocabSize - meta.size;
  const needsAlphabet = spec.modelType === "unigram" || spec.modelType === "bpe";
  if (needsAlphabet && corpus.alphabet.length > room) {
    throw new HeddleError(
      "config",
      `trainSentencePiece: vocabSize must have room for symbols and characters; got vocabSize ${spec.vocabSize}, needed ${meta.size + corpus.alphabet.length}. Raise vocabSize or lower characterCoverage.`,
      { vocabSize: spec.vocabSize, needed: meta.size + corpus.alphabet.length },
    );
  }
  const learned = await learn(corpus, spec, { room, control: options });
  options.onProgress?.({ phase: "merge", done: learned.length, total: learned.length });
  return describe(placePieces(meta, learned), spec);
}

async function learn(
  corpus: SentenceCorpus,
  spec: SentencePieceSpec,
  options: { readonly room: number; readonly control: TrainSentencePieceOptions },
): Promise<readonly Learned[]> {
  switch (spec.modelType) {
    case "unigram":
      return trainUnigramPieces(corpus, spec, options);
    case "bpe":
      return (await trainBpePieces(corpus, spec, options)).map((piece, i) => [piece, -i] as const);
    case "word":
      return wordPieces(corpus, spec, options.room);
    case "char":
      return charPieces(corpus, options.room);
    default:
      return spec.modelType satisfies never;
  }
}

/** Fills the ids that the symbols leave free. */
function placePieces(meta: ReadonlyMap<number, Piece>, learned: readonly Learned[]): Piece[] {
  const pieces: Piece[] = [];
  const rest = learned.values();
  for (;;) {
    const symbol = meta.get(pieces.length);
    if (symbol !== undefined) {
      pieces.push(symbol);
      continue;
    }
    const next = rest.next();
    if (next.done === true) return pieces;
    const [piece, score] = next.value;
    pieces.push({ piece, score, kind: "normal" });
  }
}

function describe(pieces: Piece[], spec: SentencePieceSpec): Tokenizer {
  const { unk, bos, eos, pad } = spec.metaPieces;
  return tokenizerOfFile(
    {
      pieces,
      algorithm: spec.modelType,
      byteFallback: spec.byteFallback,
      treatWhitespaceAsSuffix: spec.treatWhitespaceAsSuffix,
      unkSurface: spec.unkSurface,
      unkPiece: unk.piece,
      bosPiece: bos.piece,
      eosPiece: eos.piece,
      padPiece: pad.piece,
      precompiledCharsmap: spec.precompiledCharsmap,
      addDummyPrefix: spec.addDummyPrefix,
      removeExtraWhitespaces: spec.removeExtraWhitespaces,
      escapeWhitespaces: true,
    },
    {},
  );
}
