import { BYTE_CHARACTERS, byteOfUnit } from "../byte-level.js";
import { createVocabulary, idOfBytes, type Vocabulary } from "../vocabulary.js";
import { createByteCuts } from "../word-cuts.js";
import { Merger } from "./merge.js";
import type { CompiledModel } from "./model.js";
import { RankTable } from "./rank-table.js";
import type { Sampling } from "./sampling.js";

/** Byte-pair encoding by ranks: any two neighbours merge whose joined bytes are a token; its rank is its id. */
export interface TiktokenModel {
  readonly type: "Tiktoken";
  /** (token in the byte alphabet, rank). */
  readonly vocab: readonly (readonly [string, number])[];
}

/** Vocabularies of models that were made of them. */
const packedModels = new WeakMap<TiktokenModel, Vocabulary>();

/** Makes a model whose `vocab` is written out when somebody asks for it. */
export function tiktokenOfVocabulary(vocabulary: Vocabulary): TiktokenModel {
  let vocab: TiktokenModel["vocab"] | undefined;
  const model: TiktokenModel = {
    type: "Tiktoken",
    get vocab() {
      vocab ??= [...vocabulary.entries()];
      return vocab;
    },
  };
  packedModels.set(model, vocabulary);
  return model;
}

/**
 * Prepares rank-based byte-pair encoding.
 *
 * @see tiktoken, src/lib.rs `byte_pair_merge`
 */
export function compileTiktoken(model: TiktokenModel, sampling: Sampling | null = null): CompiledModel {
  const vocabulary = packedModels.get(model) ?? createVocabulary(model.vocab);
  const merger = new Merger(new RankTable(vocabulary), sampling);
  const byteIds = BYTE_CHARACTERS.map((char) => vocabulary.idOf(char) as number);
  return {
    vocabulary,
    createCuts: null,
    createByteCuts: sampling === null ? () => createByteCuts(vocabulary.packed) : null,
    tokenizeBytes(bytes, length, out) {
      const whole = sampling === null ? idOfBytes(vocabulary, bytes, length) : -1;
      if (whole >= 0) {
        out.push(whole, 0, length);
        return;
      }
      merger.clear();
      for (let at = 0; at < length; at++) merger.add(byteIds[bytes[at] as number] as number, at, at + 1);
      merger.merge(out);
    },
    tokenize(word, out) {
      const whole = vocabulary.idOf(word);
      if (whole !== undefined && sampling === null) {
        out.push(whole, 0, word.length);
        return;
      }
      merger.clear();
      for (let at = 0; at < word.length; at++) {
        merger.add(byteIds[byteOfUnit(word.charCodeAt(at))] as number, at, at + 1);
      }
      merger.merge(out);
    },
  };
}
