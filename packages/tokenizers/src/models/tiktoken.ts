import { BYTE_CHARACTERS, byteOfUnit } from "../byte-level.js";
import { createVocabulary, idOfBytes } from "../vocabulary.js";
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

/**
 * Prepares rank-based byte-pair encoding. Every way to cut a token into two tokens becomes a merge of its rank.
 *
 * @see tiktoken, src/lib.rs `byte_pair_merge`
 */
export function compileTiktoken(model: TiktokenModel, sampling: Sampling | null = null): CompiledModel {
  const vocabulary = createVocabulary(model.vocab);
  const table = new MergeTable(model.vocab.length * 2, null, null);
  const { units, starts, ids } = vocabulary.packed;
  for (let entry = 0; entry < ids.length; entry++) {
    const start = starts[entry] as number;
    const end = starts[entry + 1] as number;
    for (let cut = start + 1; cut < end; cut++) {
      const left = vocabulary.idOfUnits(units, start, cut);
      const right = left < 0 ? -1 : vocabulary.idOfUnits(units, cut, end);
      if (right >= 0) table.set(left, right, ids[entry] as number);
    }
  }
  const merger = new Merger(table, sampling);
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
