import { alignOriginal } from "./aligned-text.js";
import { HeddleError } from "./error.js";
import type { Model } from "./models/model.js";
import { readPieces } from "./models/sentencepiece.js";
import { latticeOptions } from "./models/sentencepiece-unigram.js";
import { readUnigram, type UnigramTables } from "./models/unigram.js";
import { UnigramLattice } from "./models/unigram-lattice.js";
import { nBest } from "./models/unigram-n-best.js";
import { compileNormalizer } from "./normalizers/normalizer.js";
import { compilePreTokenizer } from "./pre-tokenizers/pre-tokenizer.js";
import { TextUnits } from "./text-units.js";
import { TokenBuffer } from "./token-buffer.js";
import type { TokenizerConfig } from "./tokenizer.js";

/** One segmentation of a text. */
export interface Segmentation {
  readonly ids: Int32Array;
  /** Log probability under the unigram model, in nats. */
  readonly score: number;
}

/**
 * Prepares the search for the best segmentations of texts by a unigram model.
 *
 * score = sum of the pieces' log probabilities. Names of added tokens are text here, and nothing is put around.
 *
 * @returns a function from a text and a number of segmentations to at most that many, best first
 * @throws HeddleError "unsupported" if the model is not a unigram model
 * @see Kudo 2018, Subword Regularization, arXiv:1804.10959, section 3.3
 */
export function createNBestEncoder(config: TokenizerConfig): (text: string, size: number) => Segmentation[] {
  const segment = compileNBest(config.model);
  if (segment === null) {
    throw new HeddleError(
      "unsupported",
      `createNBestEncoder: only unigram models weigh segmentations; got model type ${JSON.stringify(config.model.type)}. Use encodeIds.`,
      { type: config.model.type },
    );
  }
  const normalizer = config.normalizer === null ? null : compileNormalizer(config.normalizer);
  const preTokenizer = compilePreTokenizer(config.preTokenizer);
  return (text, size) => {
    const words: ReturnType<typeof alignOriginal>[] = [];
    preTokenizer.split(alignOriginal(normalizer?.apply(text) ?? text), words);
    let best: { ids: number[]; score: number }[] = [{ ids: [], score: 0 }];
    for (const { text: word } of words) {
      const found = segment(word, size);
      best = best
        .flatMap((head) =>
          found.map(({ tokens, score }) => ({
            ids: [...head.ids, ...tokens.ids.subarray(0, tokens.length)],
            score: head.score + score,
          })),
        )
        .sort((a, b) => b.score - a.score)
        .slice(0, size);
    }
    return best.map(({ ids, score }) => ({ ids: Int32Array.from(ids), score }));
  };
}

/** Tokens of one segmentation and its log probability. */
interface ScoredTokens {
  readonly tokens: TokenBuffer;
  readonly score: number;
}

/** The best segmentations of one word, best first; null if the model knows only one. */
function compileNBest(model: Model): ((word: string, size: number) => ScoredTokens[]) | null {
  const tables = readTables(model);
  if (tables === null) return null;
  const lattice = new UnigramLattice(tables.lattice);
  return (word, size) => {
    lattice.read(word);
    return nBest(lattice, size).map(({ path, score }) => {
      const tokens = new TokenBuffer();
      tables.emit(word, path, tokens);
      return { tokens, score };
    });
  };
}

function readTables(model: Model): UnigramTables | null {
  if (model.type === "Unigram") return readUnigram(model);
  if (model.type !== "SentencePiece" || model.algorithm !== "unigram") return null;
  const { vocabulary, writer } = readPieces(model);
  const units = new TextUnits();
  const emit: UnigramTables["emit"] = (word, path, out) => {
    units.load(word);
    writer.begin(units.units, 0, out);
    for (const { id, start, end } of path) writer.put(id, start, end);
    writer.finish();
  };
  return { vocabulary, lattice: latticeOptions(model), emit };
}
