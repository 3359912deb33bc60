import { codePointLength, type Rewrite, RewriteBuilder } from "../aligned-text.js";
import { decodeBase64 } from "../base64.js";
import { HeddleError } from "../error.js";
import { byteLength, decoder, encoder } from "../text-coders.js";

/** A SentencePiece character map: a double-array trie from UTF-8 prefixes to replacement texts. */
export interface CharsMap {
  /** Finds grapheme clusters. */
  readonly segmenter: Intl.Segmenter;
  /** Replacement for the longest prefix of `text` at `start` that has one. */
  longest(text: string, start: number): CharsMapMatch | null;
  /** Replacement for the shortest such prefix. */
  shortest(text: string, start: number): CharsMapMatch | null;
}

export interface CharsMapMatch {
  /** Units of the text that are replaced. */
  readonly length: number;
  readonly replacement: string;
}

/**
 * Reads the `precompiled_charsmap` of a SentencePiece model or of tokenizer.json (base64).
 *
 * @throws HeddleError "format" if the trie's size does not fit the data
 * @see Darts-clone double arrays; sentencepiece/src/normalizer.cc
 */
export function parseCharsMap(blob: string | Uint8Array): CharsMap {
  const bytes = typeof blob === "string" ? decodeBase64(blob) : blob;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const trieBytes = bytes.length >= 4 ? view.getUint32(0, true) : 0;
  if (bytes.length < 4 || trieBytes % 4 !== 0 || trieBytes > bytes.length - 4) {
    throw new HeddleError(
      "format",
      `parseCharsMap: the trie must fit into the map; got trieBytes ${trieBytes}, mapBytes ${bytes.length}. Check precompiled_charsmap for truncation.`,
      { trieBytes, mapBytes: bytes.length },
    );
  }
  const units = new Uint32Array(trieBytes / 4);
  for (let i = 0; i < units.length; i++) units[i] = view.getUint32(4 + i * 4, true);
  const texts = bytes.subarray(4 + trieBytes);
  const find = (text: string, start: number, isLongest: boolean) =>
    findPrefix(units, texts, { text, start, isLongest });
  return {
    segmenter: new Intl.Segmenter("en", { granularity: "grapheme" }),
    longest: (text, start) => find(text, start, true),
    shortest: (text, start) => find(text, start, false),
  };
}

function findPrefix(
  units: Uint32Array,
  texts: Uint8Array,
  query: { readonly text: string; readonly start: number; readonly isLongest: boolean },
): CharsMapMatch | null {
  const { text, start, isLongest } = query;
  let node = offsetOf(units[0] ?? 0);
  let at = start;
  let found: { length: number; value: number } | null = null;
  while (at < text.length) {
    const length = codePointLength(text, at);
    for (const byte of utf8Of(text, at, length)) {
      if (byte === 0) return found && toMatch(found, texts);
      node ^= byte;
      const unit = units[node];
      if (unit === undefined || (unit & 0x800000ff) >>> 0 !== byte) return found && toMatch(found, texts);
      node ^= offsetOf(unit);
      if (((unit >>> 8) & 1) === 1) {
        found = { length: at + length - start, value: (units[node] ?? 0) & 0x7fffffff };
        if (!isLongest) return toMatch(found, texts);
      }
    }
    at += length;
  }
  return found && toMatch(found, texts);
}

function utf8Of(text: string, at: number, length: number): ArrayLike<number> & Iterable<number> {
  const unit = text.charCodeAt(at);
  return unit < 0x80 ? [unit] : encoder.encode(text.slice(at, at + length));
}

function offsetOf(unit: number): number {
  return ((unit >>> 10) << ((unit & 0x200) >>> 6)) >>> 0;
}

function toMatch(found: { length: number; value: number }, texts: Uint8Array): CharsMapMatch {
  let end = found.value;
  while (end < texts.length && texts[end] !== 0) end++;
  return { length: found.length, replacement: decoder.decode(texts.subarray(found.value, end)) };
}

/**
 * Applies a character map as Hugging Face `tokenizers` does: a grapheme of under six bytes is replaced as a whole by
 * what its shortest mapped prefix gives, otherwise each character by itself.
 */
export function tracePrecompiled(text: string, charsMap: CharsMap): Rewrite | null {
  const builder = new RewriteBuilder();
  let isChanged = false;
  const replace = (start: number, length: number): boolean => {
    const match = charsMap.shortest(text.slice(start, start + length), 0);
    if (match === null) return false;
    isChanged = true;
    putReplacement(builder, text, { start, length, replacement: match.replacement });
    return true;
  };
  forEachGrapheme(text, charsMap.segmenter, (start, length) => {
    const isShort = byteLength(text.slice(start, start + length)) < 6;
    if (isShort && replace(start, length)) return;
    for (let at = start; at < start + length; ) {
      const size = codePointLength(text, at);
      if (!replace(at, size)) builder.keep(text, at, at + size);
      at += size;
    }
  });
  return isChanged ? builder.finish() : null;
}

/** Old and new characters are paired off; extra new ones belong to the last old one, extra old ones vanish. */
function putReplacement(
  builder: RewriteBuilder,
  text: string,
  part: { readonly start: number; readonly length: number; readonly replacement: string },
): void {
  let at = part.start;
  let last = at;
  for (const char of part.replacement) {
    if (at < part.start + part.length) {
      last = at;
      at += codePointLength(text, at);
    }
    builder.put(char, last);
  }
}

/** Walks over grapheme clusters; a printable ASCII character before another one needs no segmenter. */
function forEachGrapheme(
  text: string,
  segmenter: Intl.Segmenter,
  visit: (start: number, length: number) => void,
): void {
  const plain = /[ -~]+(?=[ -~]|$)/y;
  let at = 0;
  while (at < text.length) {
    plain.lastIndex = at;
    const run = plain.exec(text)?.[0].length ?? 0;
    for (let i = 0; i < run; i++) visit(at + i, 1);
    at += run;
    if (at >= text.length) return;
    const next = text.slice(at).search(/[ -~]{2}/);
    const stop = next < 0 ? text.length : at + next + 1;
    for (const { segment, index } of segmenter.segment(text.slice(at, stop)))
      visit(at + index, segment.length);
    at = stop;
  }
}
