/** How often each sequence of `order` parts occurs; parts of a sequence are joined by the character 0. */
export function countNgrams(parts: readonly string[], order: number): Map<string, number> {
  const counts = new Map<string, number>();
  for (let at = 0; at + order <= parts.length; at++) {
    const ngram = parts.slice(at, at + order).join("\0");
    counts.set(ngram, (counts.get(ngram) ?? 0) + 1);
  }
  return counts;
}

/** How many of the first occur in the second, each as often as it does there at most. */
export function countMatches(of: ReadonlyMap<string, number>, within: ReadonlyMap<string, number>): number {
  let matches = 0;
  for (const [ngram, count] of of) matches += Math.min(count, within.get(ngram) ?? 0);
  return matches;
}

export function countAll(counts: ReadonlyMap<string, number>): number {
  let sum = 0;
  for (const count of counts.values()) sum += count;
  return sum;
}
