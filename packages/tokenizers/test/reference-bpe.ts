/**
 * Byte-pair encoding straight from its definition: find the pair of lowest rank, leftmost first, join it, repeat.
 * The slow readable twin of src/models/merge.ts.
 */
export function referenceBpe(
  symbols: readonly string[],
  merges: readonly (readonly [string, string])[],
): string[] {
  const ranks = new Map(merges.map(([left, right], rank) => [JSON.stringify([left, right]), rank]));
  const word = [...symbols];
  for (;;) {
    let best = -1;
    let bestRank = Number.POSITIVE_INFINITY;
    for (let i = 0; i + 1 < word.length; i++) {
      const rank = ranks.get(JSON.stringify([word[i], word[i + 1]]));
      if (rank !== undefined && rank < bestRank) [best, bestRank] = [i, rank];
    }
    if (best < 0) return word;
    word.splice(best, 2, (word[best] as string) + (word[best + 1] as string));
  }
}
