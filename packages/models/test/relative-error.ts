/** Largest difference over the largest expected value. Elements that do not count may hold anything. */
export function relativeError(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  counts: (at: number) => boolean = () => true,
): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY;
  let worst = 0;
  let largest = 0;
  for (let at = 0; at < expected.length; at++) {
    largest = Math.max(largest, Math.abs(expected[at] ?? 0));
    if (!counts(at)) continue;
    const error = Math.abs((actual[at] ?? Number.NaN) - (expected[at] ?? Number.NaN));
    worst = Math.max(worst, Number.isNaN(error) ? Number.POSITIVE_INFINITY : error);
  }
  return worst / largest;
}
