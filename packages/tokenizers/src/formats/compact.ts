import { HeddleError } from "../error.js";
import { type PackedBpe, packBpe } from "../models/packed-bpe.js";
import { createTokenizer, type Tokenizer, type TokenRoles } from "../tokenizer.js";
import { vocabularyOf } from "../vocabulary.js";
import { requireObject } from "./component-fields.js";
import { readTokenizerFile, toTokenizerJson } from "./tokenizer-json.js";

/** "HDTK" and the version of the layout. */
const MAGIC = 0x4b544448;
const VERSION = 1;
/** magic, version, bytes of JSON, tokens, units of all tokens, merges */
const HEADER_WORDS = 6;

/**
 * Writes a tokenizer in a compact form that loads many times faster than tokenizer.json and holds the same.
 *
 * Layout, all numbers little-endian: six 32-bit words (magic "HDTK", version 1, bytes of JSON, tokens, units, merges);
 * the JSON of the file without vocabulary and merges, padded to 4 bytes; first unit of each token and one more, id of
 * each token, (left, right, result) of each merge, 32 bits each; the UTF-16 units of all tokens. Models other than
 * byte-pair encoding are written whole in the JSON.
 *
 * @throws HeddleError "unsupported" for parts that tokenizer.json cannot hold
 */
export function toCompact(tokenizer: Tokenizer): Uint8Array {
  const { model, roles } = tokenizer.config;
  const file = toTokenizerJson(tokenizer);
  const packed = model.type === "BPE" && !model.continuingSubwordPrefix ? packBpe(model) : null;
  const written = packed === null ? file : withoutTables(file);
  const json = new TextEncoder().encode(JSON.stringify({ file: written, roles: roles ?? {} }));
  const { units, starts, ids } = packed?.vocabulary.packed ?? NO_TOKENS;
  const merges = packed?.merges ?? new Int32Array(0);
  const tablesAt = HEADER_WORDS * 4 + roundUp(json.length);
  const numWords = starts.length + ids.length + merges.length;
  const bytes = new Uint8Array(tablesAt + numWords * 4 + units.length * 2);
  const header = [
    MAGIC,
    VERSION,
    json.length,
    packed === null ? 0 : ids.length,
    units.length,
    merges.length / 3,
  ];
  new Uint32Array(bytes.buffer, 0, HEADER_WORDS).set(header);
  bytes.set(json, HEADER_WORDS * 4);
  let at = tablesAt;
  for (const table of [starts, ids, merges]) {
    new Int32Array(bytes.buffer, at, table.length).set(table);
    at += table.length * 4;
  }
  new Uint16Array(bytes.buffer, at).set(units);
  return bytes;
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
  if (length < HEADER_WORDS * 4) throw damaged("a header of 24 bytes", `${length} bytes`);
  const [magic, version, numJson = 0, numTokens = 0, numUnits = 0, numMerges = 0] = new Uint32Array(
    buffer,
    byteOffset,
    HEADER_WORDS,
  );
  if (magic !== MAGIC || version !== VERSION) {
    throw damaged('"HDTK" and version 1 at the start', `0x${magic?.toString(16)} and ${version}`);
  }
  const tablesAt = HEADER_WORDS * 4 + roundUp(numJson);
  const numWords = numTokens === 0 ? 1 : 2 * numTokens + 1 + 3 * numMerges;
  const expected = tablesAt + numWords * 4 + numUnits * 2;
  if (expected !== length) throw damaged(`${expected} bytes as its header says`, `${length}`);
  const { file, roles } = readJson(aligned.slice(HEADER_WORDS * 4, HEADER_WORDS * 4 + numJson));
  const words = new Int32Array(buffer, byteOffset + tablesAt, numWords);
  const packed =
    numTokens === 0 ? null : readTables(words, numTokens, aligned.subarray(tablesAt + numWords * 4));
  const config = readTokenizerFile(file, packed, options.roles ?? roles);
  return createTokenizer(config);
}

const NO_TOKENS = { units: new Uint16Array(0), starts: new Int32Array(1), ids: new Int32Array(0) };

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

function readTables(words: Int32Array, numTokens: number, unitBytes: Uint8Array): PackedBpe {
  const starts = words.subarray(0, numTokens + 1);
  const ids = words.subarray(numTokens + 1, 2 * numTokens + 1);
  const merges = words.subarray(2 * numTokens + 1);
  const units = new Uint16Array(unitBytes.buffer, unitBytes.byteOffset, unitBytes.length / 2);
  for (let token = 0; token < numTokens; token++) {
    const isGood = (starts[token] as number) <= (starts[token + 1] as number) && (ids[token] as number) >= 0;
    if (!isGood)
      throw damaged("tokens in order with ids of at least 0", `token ${token} with id ${ids[token]}`);
  }
  if (starts[0] !== 0 || starts[numTokens] !== units.length) {
    throw damaged(`tokens of ${units.length} units`, `${starts[0]} to ${starts[numTokens]}`);
  }
  const vocabulary = vocabularyOf({ units, starts, ids });
  if (vocabulary === null) throw damaged("tokens and ids that are all different", "some twice");
  for (let i = 0; i < merges.length; i++) {
    const id = merges[i] as number;
    if (id < 0 || id >= vocabulary.idLimit)
      throw damaged("merges of known ids", `id ${id} in merge ${Math.floor(i / 3)}`);
  }
  return { vocabulary, merges };
}

function damaged(expected: string, got: string): HeddleError {
  return new HeddleError(
    "format",
    `fromCompact: the file must have ${expected}; got ${got}. Write it anew with toCompact.`,
    { expected, got },
  );
}
