import { HeddleError } from "../error.js";
import { createVocabulary } from "../vocabulary.js";
import type { CompiledModel } from "./compiled.js";

/** Whole words only. */
export interface WordLevelModel {
  readonly type: "WordLevel";
  readonly vocab: readonly (readonly [string, number])[];
  readonly unkToken: string;
}

/** Prepares a word-level model; a word outside the vocabulary becomes the unknown token. */
export function compileWordLevel(model: WordLevelModel): CompiledModel {
  const vocabulary = createVocabulary(model.vocab);
  return {
    vocabulary,
    tokenizeBytes: null,
    createCuts: null,
    createByteCuts: null,
    tokenize(word, out) {
      const id = vocabulary.idOf(word) ?? vocabulary.idOf(model.unkToken);
      if (id === undefined) {
        throw new HeddleError(
          "config",
          `wordLevel: a word outside the vocabulary needs the unknown token; got word ${JSON.stringify(word)}, unkToken ${JSON.stringify(model.unkToken)}. Add the unknown token to the vocabulary.`,
          { word, unkToken: model.unkToken },
        );
      }
      out.push(id, 0, word.length);
    },
  };
}
