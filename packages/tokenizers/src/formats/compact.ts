import { createTokenizer } from "../create-tokenizer.js";
import { HeddleError } from "../error.js";
import { MergeTable } from "../models/merge-table.js";
import { type PackedBpe, packBpe } from "../models/packed-bpe.js";
import { numPairSlots } from "../pair-table.js";
import { encoder } from "../text-coders.js";
import type { Tokenizer, TokenRoles } from "../tokenizer.js";
import { numTokenSlots, vocabularyOfTable } from "../vocabulary.js";
import { requireObject } from "./component-fields.js";
import { readTokenizerFile, toTokenizerJson } from "./tokenizer-json.js";
import { checkOfWords } from "./word-check.js";

/** "HDTK" and the version of the layout. */
const MAGIC = 0x4b544448;
const VERSION = 3;
/** magic, version, check, bytes of JSON, tokens, units of all tokens, merges */
const HEADER_WORDS = 7;

/**
 * Writes a tokenizer in a compact form that loads many times faster than tokenizer.json and holds the same.
 *
 * Layout, all numbers little-endian: seven 32-bit words (magic "HDTK", version 3, the check of all words behind these
 * three, bytes of JSON, tokens, units, merges); the JSON of the file without vocabulary and merges, padded to 4 bytes;
 * in 32-bit words the first unit of each token and one more, the id of each token, (left, right, result) of each merge
 * and the hash tables over tokens and merges; the UTF-16 units of all tokens, padded to 4 bytes. Models other than
 * byte-pair encoding are written whole in the JSON.
 *
 * @throws HeddleError "unsupported" for parts that tokenizer.json cannot hold
 */
export function toCompact(tokenizer: Tokenizer): Uint8Array {
  const { model, roles } = tokenizer.config;
  const file = toTokenizerJson(tokenizer);
  const packed = model.type === "BPE" && !model.continuingSubwordPrefix ? packBpe(model) : null;
  const written = packed === null ? file : withoutTables(file);
  const json = encoder.encode(JSON.stringify({ file: written, roles: roles ?? {} }));
  const tables = packed === null ? [] : tablesOf(packed);
  const units = packed?.vocabulary.packed.units ?? new Uint16Array(0);
  const numWords = tables.reduce((sum, table) => sum + table.length, 0);
  const tablesAt = HEADER_WORDS * 4 + roundUp(json.length);
  const bytes = new Uint8Array(tablesAt + numWords * 4 + roundUp(units.length * 2));
  bytes.set(json, HEADER_WORDS * 4);
  let at = tablesAt;
  for (const table of tables) {
    new Int32Array(bytes.buffer, at, table.length).set(table);
    at += table.length * 4;
  }
  new Uint16Array(bytes.buffer, at, units.length).set(units);
  const words = new Uint32Array(bytes.buffer);
  const sizes = [packed?.vocabulary.size ?? 0, units.length, (packed?.merges.length ?? 0) / 3];
  words.set([MAGIC, VERSION, 0, json.length, ...sizes]);
  words[2] = checkOfWords(words);
  return bytes;
}

function tablesOf({ vocabulary, merges, slots }: PackedBpe): Int32Array[] {
  const { starts, ids } = vocabulary.packed;
  return [starts, ids, merges, vocabulary.slots, slots ?? new MergeTable(merges, "number").slots];
}

/**
 * Loads what `toCompact` wrote. The tables are views of the bytes, which must not change afterwards.
 *
 * @param options.roles  which tokens are BOS, EOS, padding and unknown; default: as they were written
 * @throws HeddleError "format" if the bytes are not such a file or are damaged
 */
export function fromCompact(bytes: Uint8Array, options: { readonly roles?: TokenRoles } = {}): Tokenizer {
  // Views of 32-bit words need their place in memory to be a multiple of four.
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  const { buffer, byteOffset, length } = aligned;
  if (length < HEADER_WORDS * 4 || length % 4 !== 0) {
    throw damaged("a header of 28 bytes and whole words", `${length} bytes`);
  }
  const words = new Uint32Array(buffer, byteOffset, length / 4);
  const [magic, version, check, numJson = 0, numTokens = 0, numUnits = 0, numMerges = 0] = words;
  if (magic !== MAGIC || version !== VERSION) {
    throw damaged('"HDTK" and version 3 at the start', `0x${magic?.toString(16)} and ${version}`);
  }
  const lengths = tableLengths(numTokens, numMerges);
  const numTableWords = lengths.reduce((sum, each) => sum + each, 0);
  const tablesAt = HEADER_WORDS * 4 + roundUp(numJson);
  const expected = tablesAt + numTableWords * 4 + roundUp(numUnits * 2);
  if (expected !== length) throw damaged(`${expected} bytes as its header says`, `${length}`);
  if (checkOfWords(words) !== check) throw damaged("the words that its check was made of", "others");
  const { file, roles } = readJson(aligned.slice(HEADER_WORDS * 4, HEADER_WORDS * 4 + numJson));
  const tables = new Int32Array(buffer, byteOffset + tablesAt, numTableWords);
  const units = new Uint16Array(buffer, byteOffset + tablesAt + numTableWords * 4, numUnits);
  const packed = numTokens === 0 ? null : readTables(tables, lengths, units);
  return createTokenizer(readTokenizerFile(file, packed, options.roles ?? roles));
}

/** Words of the five tables. */
function tableLengths(numTokens: number, numMerges: number): number[] {
  if (numTokens === 0) return [];
  return [numTokens + 1, numTokens, numMerges * 3, numTokenSlots(numTokens), numPairSlots(numMerges)];
}

const roundUp = (bytes: number): number => (bytes + 3) & ~3;

function withoutTables(file: Record<string, unknown>): Record<string, unknown> {
  return { ...file, model: { ...requireObject(file.model, "model"), vocab: null, merges: null } };
}

function readJson(bytes: Uint8Array): { file: Readonly<Record<string, unknown>>; roles: TokenRoles } {
  try {
    const json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    return { file: requireObject(json.file, "file"), roles: requireObject(json.roles, "roles") };
  } catch (cause) {
    throw damaged(
      "JSON behind its header",
      `${bytes.length} bytes that are not (${(cause as Error).message})`,
    );
  }
}

function readTables(tables: Int32Array, lengths: readonly number[], units: Uint16Array): PackedBpe {
  let end = 0;
  const [starts, ids, merges, tokenSlots, slots] = lengths.map((length) => {
    end += length;
    return tables.subarray(end - length, end);
  }) as [Int32Array, Int32Array, Int32Array, Int32Array, Int32Array];
  // The check vouches for the rest; a table without an empty slot would be searched for ever.
  if (!tokenSlots.includes(0) || !slots.includes(0))
    throw damaged("hash tables with empty slots", "full ones");
  return { vocabulary: vocabularyOfTable({ units, starts, ids }, tokenSlots), merges, slots };
}

function damaged(expected: string, got: string): HeddleError {
  return new HeddleError(
    "format",
    `fromCompact: the file must have ${expected}; got ${got}. Write it anew with toCompact.`,
    { expected, got },
  );
}
