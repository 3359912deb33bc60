/** What is done to a word of the hypothesis, or before it, to come to the reference. */
export type Edit = "keep" | "substitute" | "delete" | "insert";

/** Half the width of the band around the diagonal that is looked at, as Tercom has it. */
const beamWidth = 25;

/**
 * The fewest edits that make one sequence of words another, within a band around the diagonal.
 *
 * Of equals it keeps or substitutes first, then deletes, then inserts: alignments, and so shifts, depend on it.
 * @see Levenshtein 1966
 */
export function editPath(
  from: readonly string[],
  to: readonly string[],
): { readonly cost: number; readonly path: readonly Edit[] } {
  const width = to.length + 1;
  const costs = new Float64Array((from.length + 1) * width).fill(Number.POSITIVE_INFINITY);
  const edits = new Array<Edit>(costs.length).fill("insert");
  for (let j = 0; j < width; j++) costs[j] = j;
  const slope = from.length === 0 ? 1 : to.length / from.length;
  const reach = beamWidth < slope / 2 ? Math.ceil(slope / 2 + beamWidth) : beamWidth;
  for (let i = 1; i <= from.length; i++) {
    const middle = Math.floor(i * slope);
    const end = i === from.length ? width : Math.min(width, middle + reach);
    for (let j = Math.max(0, middle - reach); j < end; j++) {
      const at = i * width + j;
      const isSame = j > 0 && from[i - 1] === to[j - 1];
      const ways: readonly (readonly [Edit, number])[] = [
        [
          isSame ? "keep" : "substitute",
          j > 0 ? (costs[at - width - 1] ?? 0) + (isSame ? 0 : 1) : Number.NaN,
        ],
        ["delete", (costs[at - width] ?? 0) + 1],
        ["insert", j > 0 ? (costs[at - 1] ?? 0) + 1 : Number.NaN],
      ];
      for (const [edit, cost] of ways) {
        if (!(cost < (costs[at] ?? 0))) continue;
        costs[at] = cost;
        edits[at] = edit;
      }
    }
  }
  return { cost: costs.at(-1) ?? 0, path: pathBack(edits, from.length, to.length) };
}

function pathBack(edits: readonly Edit[], fromLength: number, toLength: number): Edit[] {
  const path: Edit[] = [];
  let [i, j] = [fromLength, toLength];
  while (i > 0 || j > 0) {
    const edit = edits[i * (toLength + 1) + j] ?? "insert";
    path.push(edit);
    if (edit !== "insert") i--;
    if (edit !== "delete") j--;
  }
  return path.reverse();
}
