import { BYTE_UNITS, byteLevelText } from "./byte-level.js";
import { HeddleError } from "./error.js";
import { grown } from "./grown.js";
import { hashUnits } from "./unit-hash.js";

/** Token strings by id and ids by token string; ids may have gaps. */
export interface Vocabulary {
  readonly size: number;
  /** One more than the greatest id. */
  readonly idLimit: number;
  idOf(token: string): number | undefined;
  /** Id of the token made of units [start, end), or -1. */
  idOfUnits(units: Uint16Array, start: number, end: number): number;
  /** The same for those who know the hash of these units, as hashUnits gives it. */
  find(hash: number, units: Uint16Array, start: number, end: number): number;
  /** Entry of an id in `packed`, or -1. */
  entryOf(id: number): number;
  tokenOf(id: number): string | undefined;
  /** All entries in ascending order of id. */
  entries(): IterableIterator<[token: string, id: number]>;
  /** The entries without strings: units of all tokens end to end, and where each begins and what its id is. */
  readonly packed: PackedTokens;
  /** The hash table over `packed`. */
  readonly slots: Int32Array;
}

/** Tokens end to end: token k is units [starts[k], starts[k + 1]) and has id ids[k]. */
export interface PackedTokens {
  readonly units: Uint16Array;
  /** One more entry than there are tokens. */
  readonly starts: Int32Array;
  readonly ids: Int32Array;
  /** A quick way to note which characters meet in them, as noteMeetings does it. */
  readonly noteMeetings?: () => Uint8Array;
}

/**
 * Builds a vocabulary from (token, id) pairs; of equal tokens the last counts.
 *
 * @throws HeddleError "format" if an id is not a whole number from 0 to 2^31 - 1
 */
export function createVocabulary(pairs: Iterable<readonly [string, number]>): Vocabulary {
  const ids = new Map<string, number>();
  const strings: string[] = [];
  for (const [token, id] of pairs) {
    requireId(token, id);
    ids.set(token, id);
    strings[id] = token;
  }
  let length = 0;
  for (const token of ids.keys()) length += token.length;
  const packed = {
    units: new Uint16Array(length),
    starts: new Int32Array(ids.size + 1),
    ids: new Int32Array(ids.size),
  };
  let entry = 0;
  let at = 0;
  for (const [token, id] of ids) {
    for (let i = 0; i < token.length; i++) packed.units[at++] = token.charCodeAt(i);
    packed.ids[entry++] = id;
    packed.starts[entry] = at;
  }
  return new HashedVocabulary(packed, strings);
}

/** Builds a vocabulary from packed tokens and the hash table that was made of them before, whoever vouches for both. */
export function vocabularyOfTable(packed: PackedTokens, slots: Int32Array): Vocabulary {
  return new HashedVocabulary(packed, [], { slots });
}

/**
 * Collects tokens whose units lie end to end. There is room for what is expected from the start: memory that nothing
 * is written to costs nothing, while each copy to a larger array writes to new memory.
 */
export class PackedTokensBuilder {
  private starts: Int32Array<ArrayBuffer>;
  private ids: Int32Array<ArrayBuffer>;
  private hashes: Int32Array<ArrayBuffer>;
  private count = 0;

  /** @param expected  how many tokens there may be */
  constructor(expected: number) {
    this.starts = new Int32Array(expected + 2);
    this.ids = new Int32Array(expected + 2);
    this.hashes = new Int32Array(expected + 2);
  }

  /** Adds the token whose units end before `end`; the id is a whole number from 0 to 2^31 - 1. */
  add(end: number, id: number, hash: number): void {
    const at = this.count++;
    if (at + 1 === this.starts.length) {
      this.starts = grown(this.starts, at * 4);
      this.ids = grown(this.ids, at * 4);
      this.hashes = grown(this.hashes, at * 4);
    }
    this.ids[at] = id;
    this.hashes[at] = hash;
    this.starts[at + 1] = end;
  }

  /** Makes the vocabulary, which takes the units over; null if two tokens or ids are equal. */
  finish(units: Uint16Array): Vocabulary | null {
    const { count, hashes } = this;
    const starts = this.starts.subarray(0, count + 1);
    const ids = this.ids.subarray(0, count);
    const vocabulary = new HashedVocabulary({ units, starts, ids }, [], { hashes });
    return vocabulary.hasEqualTokens || vocabulary.hasEqualIds ? null : vocabulary;
  }
}

function requireId(token: string, id: number): void {
  if (Number.isInteger(id) && id >= 0 && id <= 0x7fffffff) return;
  throw new HeddleError(
    "format",
    `createVocabulary: an id must be a whole number from 0 to 2^31 - 1; got id ${id} for token ${JSON.stringify(token)}. Correct the vocabulary.`,
    { token, id },
  );
}

/** Slots for a number of tokens. */
export function numTokenSlots(size: number): number {
  let capacity = 16;
  while (capacity < size * 2) capacity *= 2;
  return capacity;
}

/** Open addressing over the packed units: a lookup by units makes no string. */
class HashedVocabulary implements Vocabulary {
  readonly size: number;
  hasEqualTokens = false;
  /** At most half full: an entry and one, with bits of the hash above it; 0: empty. */
  readonly slots: Int32Array;
  private readonly mask: number;
  private readonly entryBits: number;
  /** undefined: nobody asked yet */
  private knownIndex: IdIndex | undefined = undefined;

  /**
   * @param strings  token strings that are known already, by id; the others are made when asked for
   * @param known.slots  as another vocabulary of these tokens has them; absent: they are made
   * @param known.hashes  of the tokens, as hashUnits gives them; absent: they are made
   */
  constructor(
    readonly packed: PackedTokens,
    private readonly strings: (string | undefined)[],
    known: { readonly slots?: Int32Array; readonly hashes?: Int32Array } = {},
  ) {
    const { slots, hashes } = known;
    const { ids, starts, units } = packed;
    this.size = ids.length;
    this.slots = slots ?? new Int32Array(numTokenSlots(this.size));
    this.mask = this.slots.length - 1;
    this.entryBits = -1 >>> Math.clz32(this.size);
    for (let entry = 0; entry < this.size && slots === undefined; entry++) {
      const hash = hashes?.[entry] ?? hashUnits(units, starts[entry] as number, starts[entry + 1] as number);
      this.place(hash, entry);
    }
  }

  get idLimit(): number {
    return this.index.idLimit;
  }

  idOf(token: string): number | undefined {
    const { length } = token;
    const units = length > scratch.length ? new Uint16Array(length) : scratch;
    for (let i = 0; i < length; i++) units[i] = token.charCodeAt(i);
    const id = this.idOfUnits(units, 0, length);
    return id < 0 ? undefined : id;
  }

  idOfUnits(sought: Uint16Array, start: number, end: number): number {
    return this.find(hashUnits(sought, start, end), sought, start, end);
  }

  find(hash: number, sought: Uint16Array, start: number, end: number): number {
    const { slots, mask, entryBits } = this;
    const { ids, starts, units } = this.packed;
    const length = end - start;
    for (let probe = 0; ; probe++) {
      const found = slots[(hash + probe) & mask] as number;
      if (found === 0) return -1;
      if (((found ^ hash) & ~entryBits) !== 0) continue;
      const entry = (found & entryBits) - 1;
      const from = starts[entry] as number;
      if ((starts[entry + 1] as number) - from !== length) continue;
      let i = 0;
      while (i < length && units[from + i] === sought[start + i]) i++;
      if (i === length) return ids[entry] as number;
    }
  }

  tokenOf(id: number): string | undefined {
    const known = this.strings[id];
    if (known !== undefined) return known;
    const entry = this.entryOf(id);
    if (entry < 0) return undefined;
    const { starts, units } = this.packed;
    const token = textOfUnits(units, starts[entry] as number, starts[entry + 1] as number);
    this.strings[id] = token;
    return token;
  }

  *entries(): IterableIterator<[string, number]> {
    for (let id = 0; id < this.idLimit; id++) {
      const token = this.tokenOf(id);
      if (token !== undefined) yield [token, id];
    }
  }

  entryOf(id: number): number {
    const { idLimit, entryOf } = this.index;
    if (!(id >= 0 && id < idLimit)) return -1;
    if (entryOf === null) return id;
    return (entryOf instanceof Map ? entryOf.get(id) : entryOf[id]) ?? -1;
  }

  private get index(): IdIndex {
    this.knownIndex ??= indexIds(this.packed.ids, this.strings.length);
    return this.knownIndex;
  }

  /** Of equal ids the index knows one entry only. */
  get hasEqualIds(): boolean {
    return this.index.entryOf !== null && this.packed.ids.some((id, entry) => this.entryOf(id) !== entry);
  }

  /** Notes it if the token stands there already. */
  private place(hash: number, entry: number): void {
    const { slots, mask, entryBits } = this;
    const { starts, units } = this.packed;
    let slot = hash & mask;
    for (; slots[slot] !== 0; slot = (slot + 1) & mask) {
      const isAlike = (((slots[slot] as number) ^ hash) & ~entryBits) === 0;
      if (isAlike && this.find(hash, units, starts[entry] as number, starts[entry + 1] as number) >= 0)
        this.hasEqualTokens = true;
    }
    slots[slot] = (hash & ~entryBits) | (entry + 1);
  }
}

interface IdIndex {
  readonly idLimit: number;
  /** Entry of each id, or -1; null: ids are the numbers of the entries. */
  readonly entryOf: Map<number, number> | Int32Array | null;
}

/**
 * Ids in order need no index, ids with few gaps an array, others (one id of 2^31 - 1 ...) a map.
 *
 * @param minLimit  the limit is at least this
 */
function indexIds(ids: Int32Array, minLimit: number): IdIndex {
  let idLimit = minLimit;
  let isInOrder = true;
  for (let entry = 0; entry < ids.length; entry++) {
    const id = ids[entry] as number;
    if (id >= idLimit) idLimit = id + 1;
    if (id !== entry) isInOrder = false;
  }
  if (isInOrder && idLimit === ids.length) return { idLimit, entryOf: null };
  if (idLimit > ids.length * 4 + 1024)
    return { idLimit, entryOf: new Map(Array.from(ids, (id, entry) => [id, entry])) };
  const entryOf = new Int32Array(idLimit).fill(-1);
  for (let entry = 0; entry < ids.length; entry++) entryOf[ids[entry] as number] = entry;
  return { idLimit, entryOf };
}

/** Tokens and words of at most this many units are looked up without making another array. */
const scratch = new Uint16Array(256);

/** Id of the token that these bytes make in the byte alphabet, or -1. */
export function idOfBytes(vocabulary: Vocabulary, bytes: Uint8Array, length: number): number {
  if (length > scratch.length) return vocabulary.idOf(byteLevelText(bytes, length)) ?? -1;
  for (let i = 0; i < length; i++) scratch[i] = BYTE_UNITS[bytes[i] as number] as number;
  return vocabulary.idOfUnits(scratch, 0, length);
}

/** Makes a string of units [start, end). */
export function textOfUnits(units: Uint16Array, start: number, end: number): string {
  let text = "";
  for (let at = start; at < end; at += 4096) {
    // Several times as fast as spreading a typed array.
    text += Reflect.apply(String.fromCharCode, null, units.subarray(at, Math.min(end, at + 4096)));
  }
  return text;
}
