import { codePointLength } from "./aligned-text.js";
import { byteLevelText, utf8Length } from "./byte-level.js";
import type { CompiledModel } from "./models/model.js";
import { TokenBuffer } from "./token-buffer.js";
import { WordCache } from "./word-cache.js";
import type { WordCuts } from "./word-cuts.js";

/** Longer words are not remembered: they seldom come back. */
const MAX_CACHED_UNITS = 32;
/** Shorter words are not cut. */
const MIN_CUT_UNITS = 24;
/** Bytes that one of the two generations of a cache may hold. */
const CACHE_BYTES = 16 * 1024 * 1024;

/**
 * Tokenizes words through a bounded cache; where the pre-tokenizer ends in the byte alphabet, the word is first
 * written in it and token ranges are mapped back, so that a hit costs neither.
 */
export function createWordTokenizer(
  model: CompiledModel,
  options: { readonly isByteLevel: boolean; readonly isRandom: boolean },
): (word: string, out: TokenBuffer) => void {
  const { isByteLevel, isRandom } = options;
  const cache = new WordCache<readonly number[]>(CACHE_BYTES);
  const scratch = new TokenBuffer();
  const tokenizeBytes = createByteTokenizer(model);
  const compute = (word: string): void =>
    isByteLevel ? tokenizeBytes(word, scratch) : model.tokenize(word, scratch);
  const tokenizePart = (word: string, out: TokenBuffer): void => {
    const isShort = word.length <= MAX_CACHED_UNITS && !isRandom;
    const cached = isShort ? cache.get(word) : undefined;
    if (cached !== undefined) {
      appendPacked(cached, out);
      return;
    }
    scratch.clear();
    compute(word);
    if (scratch.surfaces.size > 0) {
      for (const [index, surface] of scratch.surfaces) out.surfaces.set(out.length + index, surface);
    } else if (isShort) {
      cache.set(word, snapshot(scratch), scratch.length * 12);
    }
    append(scratch, out);
  };
  if (isByteLevel || model.createCuts === null) return tokenizePart;
  return tokenizeInParts(tokenizePart, model.createCuts);
}

/** Cuts long words where no token can reach across; the table for it is made when the first one comes. */
function tokenizeInParts(
  tokenizePart: (word: string, out: TokenBuffer) => void,
  createCuts: () => WordCuts,
): (word: string, out: TokenBuffer) => void {
  let cuts: WordCuts | null = null;
  return (word, out) => {
    if (word.length < MIN_CUT_UNITS) {
      tokenizePart(word, out);
      return;
    }
    cuts ??= createCuts();
    for (let start = 0; start < word.length; ) {
      const end = cuts.next(word, start);
      const before = out.length;
      tokenizePart(word.slice(start, end), out);
      for (let i = before; i < out.length; i++) {
        out.starts[i] = (out.starts[i] as number) + start;
        out.ends[i] = (out.ends[i] as number) + start;
      }
      start = end;
    }
  };
}

/** Tokens of a remembered word: id, start, end of each. */
function snapshot(buffer: TokenBuffer): number[] {
  const packed: number[] = [];
  for (let i = 0; i < buffer.length; i++) {
    packed.push(buffer.ids[i] as number, buffer.starts[i] as number, buffer.ends[i] as number);
  }
  return packed;
}

function appendPacked(packed: readonly number[], out: TokenBuffer): void {
  for (let i = 0; i < packed.length; i += 3) {
    out.push(packed[i] as number, packed[i + 1] as number, packed[i + 2] as number);
  }
}

function append(from: TokenBuffer, out: TokenBuffer): void {
  for (let i = 0; i < from.length; i++) {
    out.push(from.ids[i] as number, from.starts[i] as number, from.ends[i] as number);
  }
}

const encoder = new TextEncoder();

/** Tokenizes the bytes of words; a token that holds part of a character covers all of it. */
function createByteTokenizer(model: CompiledModel): (word: string, out: TokenBuffer) => void {
  let bytes = new Uint8Array(256);
  return (word, out) => {
    if (bytes.length < word.length * 3) bytes = new Uint8Array(word.length * 3);
    const { written } = encoder.encodeInto(word, bytes);
    if (model.tokenizeBytes === null) model.tokenize(byteLevelText(bytes, written), out);
    else model.tokenizeBytes(bytes, written, out);
    if (written !== word.length) moveToUnits(word, out);
  };
}

/** Turns ranges in bytes into ranges in UTF-16 units. */
function moveToUnits(word: string, out: TokenBuffer): void {
  const { starts, ends, length } = out;
  let unit = 0;
  let byteEnd = utf8Length(word, 0);
  const advanceTo = (byte: number): void => {
    while (byte >= byteEnd) {
      unit += codePointLength(word, unit);
      byteEnd += utf8Length(word, unit);
    }
  };
  for (let i = 0; i < length; i++) {
    const lastByte = (ends[i] as number) - 1;
    advanceTo(starts[i] as number);
    starts[i] = unit;
    advanceTo(lastByte);
    ends[i] = unit + codePointLength(word, unit);
  }
}
