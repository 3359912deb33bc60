import { HeddleError } from "../error.js";

export interface CompressBytesOptions {
  /** Bytes that are compressed together and share a table of pairs; at most 65 535. Default 5000, as in the paper. */
  readonly blockSize?: number;
  /** A pair that occurs less often in a block is not replaced; default 3. */
  readonly minCount?: number;
}

/**
 * Compresses bytes by pair encoding, from which tokenizers took the idea: again and again the most frequent pair of
 * neighbouring bytes is replaced by a byte that does not occur, until no byte is free or no pair frequent.
 *
 * A block is its table (for runs of bytes: how many stand for themselves, or which pairs they stand for), its length
 * after packing in two bytes, high one first, and the packed bytes.
 *
 * @returns a new array; `decompressBytes` gives the bytes back
 * @throws HeddleError "config" if blockSize or minCount is out of range
 * @see Gage 1994, A New Algorithm for Data Compression, The C Users Journal 12(2)
 * Differs from the paper: pairs are counted exactly; there a hash table may lose some. Of equally frequent pairs the one
 * of lower bytes comes first.
 */
export function compressBytes(bytes: Uint8Array, options: CompressBytesOptions = {}): Uint8Array {
  const { blockSize = 5000, minCount = 3 } = options;
  if (!(Number.isInteger(blockSize) && blockSize >= 1 && blockSize <= 0xffff && minCount >= 2)) {
    throw new HeddleError(
      "config",
      `compressBytes: blockSize must be from 1 to 65535 and minCount at least 2; got blockSize ${blockSize}, minCount ${minCount}. Correct them; 5000 and 3 are usual.`,
      { blockSize, minCount },
    );
  }
  const out: number[] = [];
  for (let at = 0; at < bytes.length; at += blockSize) {
    const block = packBlock(bytes.slice(at, at + blockSize), minCount);
    writeTable(block.pairs, out);
    out.push(block.packed.length >> 8, block.packed.length & 255);
    for (const byte of block.packed) out.push(byte);
  }
  return Uint8Array.from(out);
}

/** Pair that a byte stands for; null: itself. */
type PairOf = (readonly [number, number] | null)[];

function packBlock(bytes: Uint8Array, minCount: number): { packed: Uint8Array; pairs: PairOf } {
  const pairs: PairOf = Array.from({ length: 256 }, () => null);
  const isUsed = new Uint8Array(256);
  for (const byte of bytes) isUsed[byte] = 1;
  let packed = bytes;
  for (let free = 255; free >= 0; free--) {
    if (isUsed[free] === 1) continue;
    const pair = mostFrequentPair(packed, minCount);
    if (pair === null) break;
    pairs[free] = pair;
    packed = replacePair(packed, pair, free);
  }
  return { packed, pairs };
}

/** Counts pairs that do not overlap. */
function mostFrequentPair(bytes: Uint8Array, minCount: number): readonly [number, number] | null {
  const counts = new Uint16Array(0x10000);
  const lastEnd = new Int32Array(0x10000).fill(-1);
  let best = -1;
  for (let i = 0; i + 1 < bytes.length; i++) {
    const pair = ((bytes[i] as number) << 8) | (bytes[i + 1] as number);
    if ((lastEnd[pair] as number) > i) continue;
    lastEnd[pair] = i + 2;
    const count = (counts[pair] as number) + 1;
    counts[pair] = count;
    const most = best < 0 ? 0 : (counts[best] as number);
    if (count > most || (count === most && pair < best)) best = pair;
  }
  if (best < 0 || (counts[best] as number) < minCount) return null;
  return [best >> 8, best & 255];
}

function replacePair(bytes: Uint8Array, [left, right]: readonly [number, number], by: number): Uint8Array {
  const out = new Uint8Array(bytes.length);
  let length = 0;
  for (let i = 0; i < bytes.length; i++) {
    const isPair = bytes[i] === left && bytes[i + 1] === right && i + 1 < bytes.length;
    out[length++] = isPair ? by : (bytes[i] as number);
    if (isPair) i++;
  }
  return out.subarray(0, length);
}

/** Most entries that one number of the table can announce. */
const MAX_RUN = 128;

/** A number above 127: that many less 127 bytes stand for themselves; else one more than it of pairs follow. */
function writeTable(pairs: PairOf, out: number[]): void {
  for (let byte = 0; byte < 256; ) {
    const isPair = pairs[byte] !== null;
    let end = byte;
    while (end < 256 && end - byte < MAX_RUN && (pairs[end] !== null) === isPair) end++;
    out.push(isPair ? end - byte - 1 : end - byte + 127);
    for (const pair of pairs.slice(byte, end)) if (pair !== null) out.push(pair[0], pair[1]);
    byte = end;
  }
}

/**
 * Undoes `compressBytes`.
 *
 * @throws HeddleError "format" if the bytes end early or a pair stands for itself
 */
export function decompressBytes(bytes: Uint8Array): Uint8Array {
  const out: number[] = [];
  let at = 0;
  const take = (): number => {
    const byte = bytes[at++];
    if (byte === undefined) throw damaged("the end inside a block", bytes.length);
    return byte;
  };
  while (at < bytes.length) {
    const pairs = readTable(take, bytes.length);
    const length = take() * 256 + take();
    for (let i = 0; i < length; i++) expand(take(), pairs, out);
  }
  return Uint8Array.from(out);
}

function readTable(take: () => number, length: number): PairOf {
  const pairs: PairOf = Array.from({ length: 256 }, () => null);
  for (let byte = 0; byte < 256; ) {
    const number = take();
    const end = byte + (number > 127 ? number - 127 : number + 1);
    if (end > 256) throw damaged(`a table of more than 256 bytes`, length);
    if (number <= 127) for (let b = byte; b < end; b++) pairs[b] = [take(), take()];
    byte = end;
  }
  requireLoopless(pairs, length);
  return pairs;
}

/** A byte may stand for pairs of bytes that stand for pairs, but never for itself in the end. */
function requireLoopless(pairs: PairOf, length: number): void {
  const state = new Uint8Array(256);
  const visit = (byte: number): void => {
    if (state[byte] === 2) return;
    if (state[byte] === 1) throw damaged(`byte ${byte} that stands for itself and more`, length);
    state[byte] = 1;
    for (const part of pairs[byte] ?? []) visit(part);
    state[byte] = 2;
  };
  for (let byte = 0; byte < 256; byte++) visit(byte);
}

function expand(byte: number, pairs: PairOf, out: number[]): void {
  const stack = [byte];
  for (let top = stack.pop(); top !== undefined; top = stack.pop()) {
    const pair = pairs[top];
    if (pair === null || pair === undefined) out.push(top);
    else stack.push(pair[1], pair[0]);
  }
}

function damaged(problem: string, length: number): HeddleError {
  return new HeddleError(
    "format",
    `decompressBytes: the bytes must be blocks of table, length and packed bytes; got ${problem}, ${length} bytes in all. Check that they come whole from compressBytes.`,
    { problem, length },
  );
}
