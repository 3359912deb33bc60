import { BYTE_CHARACTERS, fromByteLevel } from "../byte-level.js";
import { encoder } from "../text-coders.js";
import type { TokenBuffer } from "../token-buffer.js";
import { addUnit, finishHash } from "../unit-hash.js";
import { createVocabulary, idOfBytes, type Vocabulary } from "../vocabulary.js";
import { createByteCuts } from "../word-cuts.js";
import type { CompiledModel } from "./compiled.js";
import { Merger } from "./merge.js";
import { MergeTable } from "./merge-table.js";
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
  const { ids, starts, units } = vocabulary.packed;
  // A token of n units can be cut in n - 1 places.
  const merges = new Int32Array(units.length * 3);
  let count = 0;
  for (let entry = 0; entry < ids.length; entry++) {
    const start = starts[entry] as number;
    const end = starts[entry + 1] as number;
    let hash = 0;
    for (let cut = start + 1; cut < end; cut++) {
      hash = addUnit(hash, units[cut - 1] as number);
      const left = vocabulary.find(finishHash(hash, cut - start), units, start, cut);
      const right = left < 0 ? -1 : vocabulary.idOfUnits(units, cut, end);
      if (right < 0) continue;
      merges[3 * count] = left;
      merges[3 * count + 1] = right;
      merges[3 * count++ + 2] = ids[entry] as number;
    }
  }
  return new MergeTable(merges.subarray(0, count * 3), "result");
}

/**
 * Prepares rank-based byte-pair encoding.
 *
 * @see tiktoken, src/lib.rs `byte_pair_merge`
 */
export function compileTiktoken(model: TiktokenModel, sampling: Sampling | null = null): CompiledModel {
  return compileRanks(packedModels.get(model) ?? createVocabulary(model.vocab), sampling);
}

/** The same for a vocabulary whose ids are ranks. */
export function compileRanks(vocabulary: Vocabulary, sampling: Sampling | null = null): CompiledModel {
  const merger = new Merger(createRankTable(vocabulary), sampling);
  const byteIds = BYTE_CHARACTERS.map((char) => vocabulary.idOf(char) as number);
  const tokenizeBytes = (bytes: Uint8Array, length: number, out: TokenBuffer): void => {
    const whole = sampling === null ? idOfBytes(vocabulary, bytes, length) : -1;
    if (whole >= 0) {
      out.push(whole, 0, length);
      return;
    }
    merger.clear();
    for (let at = 0; at < length; at++) merger.add(byteIds[bytes[at] as number] as number, at, at + 1);
    merger.merge(out);
  };
  return {
    vocabulary,
    createCuts: null,
    createByteCuts: sampling === null ? () => createByteCuts(vocabulary.packed) : null,
    tokenizeBytes,
    tokenize: (word, out) => {
      const bytes = fromByteLevel(word) ?? encoder.encode(word);
      tokenizeBytes(bytes, bytes.length, out);
    },
  };
}
