import type { PackedBpe } from "../models/packed-bpe.js";
import { decoder } from "../text-coders.js";
import { hashUnits } from "../unit-hash.js";
import { PackedTokensBuilder, type Vocabulary } from "../vocabulary.js";
import { type BpeReader, createBpeReader } from "./bpe-reader.js";
import { JsonCursor } from "./json-cursor.js";

/** What was found in a tokenizer.json. */
export interface ScannedBpe {
  /** The file without the vocabulary and the merges: null stands in their place. */
  readonly rest: string;
  readonly packed: PackedBpe;
}

/** Bytes of a file from which on a module is worth the millisecond that it takes to compile. */
const READER_FROM = 1 << 19;

/**
 * Reads the vocabulary and the merges of a BPE tokenizer.json straight from its bytes into typed arrays: a file of
 * 16 MB holds half a million short strings, and making them is most of the work that JSON.parse does.
 *
 * @returns null if the file is not exactly of that form; then JSON.parse decides what is wrong or different
 * Twin: readModel of what JSON.parse returns
 */
export function scanBpe(bytes: Uint8Array): ScannedBpe | null {
  const reader = bytes.length < READER_FROM ? null : createBpeReader(bytes);
  return (reader && scanBpeBy(reader, bytes)) ?? scanBpeBy(null, bytes);
}

/** The same with what reads most entries; null: nothing does, and each one is read as a string. */
export function scanBpeBy(reader: BpeReader | null, bytes: Uint8Array): ScannedBpe | null {
  const scan = new BpeScan(bytes, reader);
  return scan.readFile() ? scan.result() : null;
}

const COLON = 0x3a;
const COMMA = 0x2c;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;

/** Every method returns false where the file is not what is expected. */
class BpeScan {
  private readonly json: JsonCursor;
  private vocabulary: Vocabulary | null = null;
  private merges: Int32Array | null = null;
  private rest = "";
  private copiedTo = 0;

  constructor(
    private readonly bytes: Uint8Array,
    private readonly reader: BpeReader | null,
  ) {
    this.json = new JsonCursor(bytes);
  }

  readFile(): boolean {
    const { json } = this;
    const readMember = () =>
      json.text === "model" ? this.readObject(() => this.readModelField()) : json.skip();
    return this.readObject(readMember) && json.peek() < 0;
  }

  result(): ScannedBpe | null {
    const { vocabulary, merges } = this;
    if (vocabulary === null || merges === null) return null;
    const rest = this.rest + decoder.decode(this.bytes.subarray(this.copiedTo));
    return { rest, packed: { vocabulary, merges } };
  }

  /** Reads an object; the text of the cursor is the key when `readValue` is called. */
  private readObject(readValue: () => boolean): boolean {
    const { json } = this;
    if (!json.take(OPEN_OBJECT)) return false;
    if (json.take(CLOSE_OBJECT)) return true;
    do {
      if (!(json.string() && json.take(COLON) && readValue())) return false;
    } while (json.take(COMMA));
    return json.take(CLOSE_OBJECT);
  }

  private readModelField(): boolean {
    const { json } = this;
    const isVocabulary = json.text === "vocab";
    if (!isVocabulary && json.text !== "merges") return json.skip();
    json.peek();
    this.rest += `${decoder.decode(this.bytes.subarray(this.copiedTo, json.at))}null`;
    const isGood = isVocabulary ? this.readVocabulary() : this.readMerges();
    this.copiedTo = json.at;
    return isGood;
  }

  private readVocabulary(): boolean {
    if (this.vocabulary !== null) return false;
    const { json, reader } = this;
    const tokens = reader ?? createTokens(this.bytes.length);
    const readToken = () => {
      const { text } = json;
      const id = json.wholeNumber();
      if (id >= 0) tokens.add(text, id);
      return id >= 0 && (reader === null || reader.readTokens(json));
    };
    this.vocabulary = this.readObject(readToken) ? tokens.finish() : null;
    return this.vocabulary !== null;
  }

  private readMerges(): boolean {
    const { json, reader, vocabulary } = this;
    if (this.merges !== null || vocabulary === null || !json.take(OPEN_ARRAY)) return false;
    // A merge takes four bytes at least; what is not used costs nothing.
    const merges = reader?.merges ?? new Int32Array(this.bytes.length);
    let count = 0;
    if (!json.take(CLOSE_ARRAY)) {
      do {
        const [left, right] = this.readMerge();
        if (left === undefined || right === undefined) return false;
        const ids = [left, right, left + right].map((token) => vocabulary.idOf(token) ?? -1);
        if (ids.includes(-1)) return false;
        merges.set(ids, 3 * count++);
        if (reader !== null) count = reader.readMerges(json, count);
        if (count < 0) return false;
      } while (json.take(COMMA));
      if (!json.take(CLOSE_ARRAY)) return false;
    }
    this.merges = merges.subarray(0, count * 3);
    return true;
  }

  /** Reads ["left", "right"] or "left right"; something else if there is neither. */
  private readMerge(): string[] {
    const { json } = this;
    if (!json.take(OPEN_ARRAY)) {
      const parts = json.string() ? json.text.split(" ") : [];
      return parts.length === 2 ? parts : [];
    }
    if (!json.string()) return [];
    const { text } = json;
    return json.take(COMMA) && json.string() && json.take(CLOSE_ARRAY) ? [text, json.text] : [];
  }
}

/** Collects the tokens of a file of so many bytes. */
function createTokens(numBytes: number): Pick<BpeReader, "add" | "finish"> {
  const tokens = new PackedTokensBuilder(numBytes >> 5);
  const units = new Uint16Array(numBytes);
  let end = 0;
  return {
    add(token, id) {
      const start = end;
      for (let i = 0; i < token.length; i++) units[end++] = token.charCodeAt(i);
      tokens.add(end, id, hashUnits(units, start, end));
    },
    finish: () => tokens.finish(units.subarray(0, end)),
  };
}
