import { BYTE_CHARACTERS, byteOfUnit } from "../byte-level.js";
import { createVocabulary, idOfBytes, type Vocabulary } from "../vocabulary.js";
import { createByteCuts } from "../word-cuts.js";
import { Merger } from "./merge.js";
import { MergeTable } from "./merge-table.js";
import type { CompiledModel } from "./model.js";
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

/** Every way to cut a token into two tokens is a merge, whose rank is the token's. */
function createRankTable(vocabulary: Vocabulary): MergeTable {
  let merges = new Int32Array(vocabulary.size * 9);
  let end = 0;
  vocabulary.eachSplit((left, right, id) => {
    if (end === merges.length) {
      const grown = new Int32Array(end * 2);
      grown.set(merges);
      merges = grown;
    }
    merges[end++] = left;
    merges[end++] = right;
    merges[end++] = id;
  });
  const used = merges.slice(0, end);
  const ranks = new Int32Array(end / 3);
  for (let merge = 0; merge < ranks.length; merge++) ranks[merge] = used[3 * merge + 2] as number;
  return new MergeTable(used, ranks);
}

/**
 * Prepares rank-based byte-pair encoding.
 *
 * @see tiktoken, src/lib.rs `byte_pair_merge`
 */
export function compileTiktoken(model: TiktokenModel, sampling: Sampling | null = null): CompiledModel {
  const vocabulary = packedModels.get(model) ?? createVocabulary(model.vocab);
  const merger = new Merger(createRankTable(vocabulary), sampling);
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
