import { grown } from "./grown.js";

/**
 * A stretch of (normalised) text which knows where each of its UTF-16 units came from in the original text.
 *
 * `starts` and `ends` are null while the text is still the original: then unit k is original unit `base + k`.
 */
export interface AlignedText {
  readonly text: string;
  /** Index in the original text of the first unit; exact only while `starts` is null. */
  readonly base: number;
  /** For each unit, where the original character that it stands for begins. */
  readonly starts: Int32Array | null;
  /** For each unit, where that character ends. */
  readonly ends: Int32Array | null;
}

/** The result of changing a text: `source[k]` is the unit of the old text whose place unit k of the new one takes. */
export interface Rewrite {
  readonly text: string;
  readonly source: Int32Array;
}

/** Wraps an original text. */
export function alignOriginal(text: string, base = 0): AlignedText {
  return { text, base, starts: null, ends: null };
}

/** Returns units [start, end) of an aligned text. */
export function sliceAligned(aligned: AlignedText, start: number, end: number): AlignedText {
  if (start === 0 && end === aligned.text.length) return aligned;
  return {
    text: aligned.text.slice(start, end),
    base: aligned.base + start,
    starts: aligned.starts?.subarray(start, end) ?? null,
    ends: aligned.ends?.subarray(start, end) ?? null,
  };
}

/** Carries the alignment over a rewrite; null leaves the text as it is. */
export function applyRewrite(aligned: AlignedText, rewrite: Rewrite | null): AlignedText {
  if (rewrite === null) return aligned;
  const { text, source } = rewrite;
  const { length } = text;
  const starts = new Int32Array(length);
  const ends = new Int32Array(length);
  const { base, starts: oldStarts, ends: oldEnds, text: old } = aligned;
  for (let k = 0; k < length; k++) {
    const unit = source[k] as number;
    if (oldStarts !== null && oldEnds !== null) {
      starts[k] = oldStarts[unit] as number;
      ends[k] = oldEnds[unit] as number;
    } else {
      starts[k] = base + unit;
      ends[k] = base + unit + codePointLength(old, unit);
    }
  }
  return { text, base: starts[0] ?? aligned.base, starts, ends };
}

/** Where the first unit came from in the original text. */
export function originalStart(aligned: AlignedText): number {
  return aligned.starts?.[0] ?? aligned.base;
}

/** Returns 2 where a surrogate pair begins at `index`, else 1. */
export function codePointLength(text: string, index: number): number {
  const isPair =
    (text.charCodeAt(index) & 0xfc00) === 0xd800 && (text.charCodeAt(index + 1) & 0xfc00) === 0xdc00;
  return isPair ? 2 : 1;
}

/** Collects the pieces of a rewrite. */
export class RewriteBuilder {
  private text = "";
  private source = new Int32Array(64);

  /** Keeps units [start, end) of the old text. */
  keep(old: string, start: number, end: number): void {
    if (end <= start) return;
    this.reserve(end - start);
    let at = this.text.length;
    for (let unit = start; unit < end; unit++) this.source[at++] = unit;
    this.text += old.slice(start, end);
  }

  /** Puts `replacement` in the place of the old unit `unit`. */
  put(replacement: string, unit: number): void {
    this.reserve(replacement.length);
    this.source.fill(unit, this.text.length, this.text.length + replacement.length);
    this.text += replacement;
  }

  finish(): Rewrite {
    return { text: this.text, source: this.source.subarray(0, this.text.length) };
  }

  private reserve(extra: number): void {
    const needed = this.text.length + extra;
    if (needed <= this.source.length) return;
    this.source = grown(this.source, needed);
  }
}

/**
 * Builds the rewrite in which output character k consumes one old character plus `-changes[k]` more
 * (changes <= 0), or is inserted behind the last consumed one (changes > 0).
 *
 * These are the alignment rules of Hugging Face `tokenizers` (NormalizedString.transform); a character that stands
 * for several old ones is aligned with the first of them.
 */
export function rewriteFromChanges(
  old: string,
  characters: readonly string[],
  changes: ArrayLike<number>,
): Rewrite {
  const builder = new RewriteBuilder();
  let next = 0;
  let last = 0;
  for (let k = 0; k < characters.length; k++) {
    const change = changes[k] as number;
    if (change <= 0) {
      last = Math.min(next, old.length - 1);
      for (let n = change; n <= 0 && next < old.length; n++) next += codePointLength(old, next);
      builder.put(characters[k] as string, last);
    } else {
      builder.put(characters[k] as string, next === 0 ? 0 : previousCodePoint(old, next));
    }
  }
  return builder.finish();
}

function previousCodePoint(text: string, index: number): number {
  const before = index - 1;
  return before > 0 && codePointLength(text, before - 1) === 2 ? before - 1 : before;
}
