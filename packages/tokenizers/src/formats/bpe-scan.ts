import { copyTo } from "../copy-to.js";
import type { PackedBpe } from "../models/packed-bpe.js";
import { hashUnits } from "../unit-hash.js";
import { PackedTokensBuilder, type Vocabulary } from "../vocabulary.js";
import { JsonCursor } from "./json-cursor.js";

/** What was found in a tokenizer.json. */
export interface ScannedBpe {
  /** The file without the vocabulary and the merges: null stands in their place. */
  readonly rest: string;
  readonly packed: PackedBpe;
}

/**
 * Reads the vocabulary and the merges of a BPE tokenizer.json straight from its bytes into typed arrays: a file of
 * 16 MB holds half a million short strings, and making them is most of the work that JSON.parse does.
 *
 * @returns null if the file is not exactly of that form; then JSON.parse decides what is wrong or different
 * Twin: readModel of what JSON.parse returns
 */
export function scanBpe(bytes: Uint8Array): ScannedBpe | null {
  const scan = new BpeScan(bytes);
  return scan.readFile() ? scan.result() : null;
}

const [COLON, COMMA, SPACE] = [0x3a, 0x2c, 0x20];
const [OPEN_OBJECT, CLOSE_OBJECT, OPEN_ARRAY, CLOSE_ARRAY] = [0x7b, 0x7d, 0x5b, 0x5d];

const decoder = new TextDecoder();

/** Every method returns false where the file is not what is expected. */
class BpeScan {
  private readonly json: JsonCursor;
  private vocabulary: Vocabulary | null = null;
  private merges = new Int32Array(0);
  private numMerges = -1;
  /** Hashes of the parts of the last merge that was read. */
  private leftHash = 0;
  private rightHash = 0;
  private rest = "";
  private copiedTo = 0;

  constructor(private readonly bytes: Uint8Array) {
    this.json = new JsonCursor(bytes);
  }

  readFile(): boolean {
    const readMember = () =>
      this.isKey("model") ? this.readObject(() => this.readModelField()) : this.json.skip();
    return this.readObject(readMember) && this.json.peek() < 0;
  }

  result(): ScannedBpe | null {
    const { vocabulary, numMerges } = this;
    if (vocabulary === null || numMerges < 0) return null;
    const merges = this.merges.subarray(0, numMerges * 3);
    return {
      rest: this.rest + decoder.decode(this.bytes.subarray(this.copiedTo)),
      packed: { vocabulary, merges },
    };
  }

  /** Reads an object; the units of the cursor are the key when `readValue` is called. */
  private readObject(readValue: () => boolean): boolean {
    const { json } = this;
    if (!json.take(OPEN_OBJECT)) return false;
    if (json.take(CLOSE_OBJECT)) return true;
    do {
      json.length = 0;
      if (!(json.string() && json.take(COLON) && readValue())) return false;
    } while (json.take(COMMA));
    return json.take(CLOSE_OBJECT);
  }

  private isKey(key: string): boolean {
    const { length, units } = this.json;
    let i = 0;
    while (i < key.length && key.charCodeAt(i) === units[i]) i++;
    return i === length && i === key.length;
  }

  private readModelField(): boolean {
    const isVocabulary = this.isKey("vocab");
    if (!isVocabulary && !this.isKey("merges")) return this.json.skip();
    this.json.peek();
    this.rest += `${decoder.decode(this.bytes.subarray(this.copiedTo, this.json.at))}null`;
    const isGood = isVocabulary ? this.readVocabulary() : this.readMerges();
    this.copiedTo = this.json.at;
    return isGood;
  }

  private readVocabulary(): boolean {
    const { json } = this;
    if (this.vocabulary !== null || !json.take(OPEN_OBJECT)) return false;
    // A token takes some 25 bytes and has 7 units; what is not used costs nothing.
    const expected = (this.bytes.length - json.at) >> 6;
    const tokens = new PackedTokensBuilder(expected);
    json.units = new Uint16Array(expected * 8 + 16);
    json.length = 0;
    // A loop of its own, not readObject, which other callers make the engine compile anew.
    if (!json.take(CLOSE_OBJECT)) {
      do {
        if (!(json.string() && json.take(COLON))) return false;
        const id = json.wholeNumber();
        if (id < 0) return false;
        tokens.add(json.length, id, json.hash);
      } while (json.take(COMMA));
      if (!json.take(CLOSE_OBJECT)) return false;
    }
    this.vocabulary = tokens.finish(json.units.subarray(0, json.length));
    json.units = new Uint16Array(256);
    return this.vocabulary !== null;
  }

  private readMerges(): boolean {
    const { json } = this;
    if (this.numMerges >= 0 || this.vocabulary === null || !json.take(OPEN_ARRAY)) return false;
    this.numMerges = 0;
    // One merge takes some 16 bytes, or 50 with indentation; what is not used costs nothing.
    this.merges = new Int32Array(3 * (((this.bytes.length - json.at) >> 5) + 16));
    if (json.take(CLOSE_ARRAY)) return true;
    do {
      const middle = this.readMerge();
      if (middle < 0 || !this.addMerge(this.vocabulary, middle)) return false;
    } while (json.take(COMMA));
    return json.take(CLOSE_ARRAY);
  }

  /** Reads ["left", "right"] and returns the length of the left part, or -1. */
  private readMerge(): number {
    const { json } = this;
    json.length = 0;
    if (!json.take(OPEN_ARRAY)) return this.readJoined();
    if (!json.string()) return -1;
    const middle = json.length;
    this.leftHash = json.hash;
    if (!(json.take(COMMA) && json.string() && json.take(CLOSE_ARRAY))) return -1;
    this.rightHash = json.hash;
    return middle;
  }

  /** The same for "left right". */
  private readJoined(): number {
    const { json } = this;
    if (!json.string()) return -1;
    const { units, length } = json;
    let middle = 0;
    while (middle < length && units[middle] !== SPACE) middle++;
    if (middle === length) return -1;
    for (let i = middle + 1; i < length; i++) {
      if (units[i] === SPACE) return -1;
      units[i - 1] = units[i] as number;
    }
    json.length = length - 1;
    this.leftHash = hashUnits(units, 0, middle);
    this.rightHash = hashUnits(units, middle, length - 1);
    return middle;
  }

  private addMerge(vocabulary: Vocabulary, middle: number): boolean {
    const { units, length } = this.json;
    const at = this.numMerges++ * 3;
    if (at === this.merges.length) this.merges = copyTo(new Int32Array(at * 2), this.merges);
    const { merges } = this;
    const left = vocabulary.find(this.leftHash, units, 0, middle);
    const right = vocabulary.find(this.rightHash, units, middle, length);
    // Most vocabularies list the results in the order of the merges.
    const last = at === 0 ? -1 : (merges[at - 1] as number);
    const guess = isMadeOf(vocabulary, last + 1, units, length) ? last + 1 : last;
    const isGuessed = guess > last || isMadeOf(vocabulary, last, units, length);
    const result = isGuessed ? guess : vocabulary.idOfUnits(units, 0, length);
    merges[at] = left;
    merges[at + 1] = right;
    merges[at + 2] = result;
    return (left | right | result) >= 0;
  }
}

/** True if the token with this id is made of the first `length` units. */
function isMadeOf(vocabulary: Vocabulary, id: number, sought: Uint16Array, length: number): boolean {
  const entry = vocabulary.entryOf(id);
  if (entry < 0) return false;
  const { starts, units } = vocabulary.packed;
  const from = starts[entry] as number;
  if ((starts[entry + 1] as number) - from !== length) return false;
  let i = 0;
  while (i < length && units[from + i] === sought[i]) i++;
  return i === length;
}
