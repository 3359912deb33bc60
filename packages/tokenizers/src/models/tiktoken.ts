import { BYTE_CHARACTERS, byteLevelText, byteOfUnit } from "../byte-level.js";
import { PairTable } from "../pair-table.js";
import { createVocabulary } from "../vocabulary.js";
import { Merger } from "./merge.js";
import type { CompiledModel } from "./model.js";
import type { Sampling } from "./sampling.js";

/** Byte-pair encoding by ranks: any two neighbours merge whose joined bytes are a token; its rank is its id. */
export interface TiktokenModel {
  readonly type: "Tiktoken";
  /** (token in the byte alphabet, rank). */
  readonly vocab: readonly (readonly [string, number])[];
}

/**
 * Prepares rank-based byte-pair encoding. Every way to cut a token into two tokens becomes a merge of its rank.
 *
 * @see tiktoken, src/lib.rs `byte_pair_merge`
 */
export function compileTiktoken(model: TiktokenModel, sampling: Sampling | null = null): CompiledModel {
  const vocabulary = createVocabulary(model.vocab);
  const ranks = new PairTable(model.vocab.length * 2);
  const results: number[] = [];
  for (const [token, id] of model.vocab) {
    for (let cut = 1; cut < token.length; cut++) {
      const left = vocabulary.idOf(token.slice(0, cut));
      const right = left === undefined ? undefined : vocabulary.idOf(token.slice(cut));
      if (left === undefined || right === undefined) continue;
      ranks.set(left, right, results.length);
      results.push(id);
    }
  }
  const order = Int32Array.from(results);
  const merger = new Merger({ ranks, results: order, order }, sampling);
  const byteIds = BYTE_CHARACTERS.map((char) => vocabulary.idOf(char) as number);
  return {
    vocabulary,
    createCuts: null,
    tokenizeBytes(bytes, length, out) {
      const whole = vocabulary.idOf(byteLevelText(bytes, length));
      if (whole !== undefined && sampling === null) {
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
