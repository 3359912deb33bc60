/** Which characters get into the alphabet. */
export interface AlphabetOptions {
  /** Characters that are in whether or not they occur; of each string the first character counts. */
  readonly initialAlphabet?: readonly string[];
  /** Keep only this many of the most frequent characters; default all. Words lose the others. */
  readonly limitAlphabet?: number;
}

/**
 * Returns the characters of counted words in order of code points.
 *
 * Of equally frequent characters at the limit those of lower code points stay (Hugging Face `tokenizers` leaves it to
 * chance).
 */
export function collectAlphabet(
  wordCounts: ReadonlyMap<string, number>,
  { initialAlphabet = [], limitAlphabet = Number.POSITIVE_INFINITY }: AlphabetOptions,
): string[] {
  const counts = new Map<string, number>();
  for (const [word, count] of wordCounts) {
    for (const char of word) counts.set(char, (counts.get(char) ?? 0) + count);
  }
  for (const [char = ""] of initialAlphabet) if (char !== "") counts.set(char, Number.POSITIVE_INFINITY);
  let kept = [...counts];
  if (kept.length > limitAlphabet) {
    kept.sort(([a, m], [b, n]) => (m === n ? compareCodePoints(a, b) : n - m));
    kept = kept.slice(0, limitAlphabet);
  }
  return kept.map(([char]) => char).sort(compareCodePoints);
}

/** Orders texts by code points, which is the order of their UTF-8 bytes. */
export function compareCodePoints(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const left = a.charCodeAt(i);
    const right = b.charCodeAt(i);
    if (left === right) continue;
    const isLeftHigh = left >= 0xd800 && left <= 0xdfff;
    const isRightHigh = right >= 0xd800 && right <= 0xdfff;
    return isLeftHigh === isRightHigh ? left - right : isLeftHigh ? 1 : -1;
  }
  return a.length - b.length;
}
