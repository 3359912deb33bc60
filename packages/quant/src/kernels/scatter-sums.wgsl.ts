import { each } from "@heddle/tensor/kernel";

/** Sums of vectors over the threads of a subgroup, left in several of them. */
export interface ScatteredSums {
  readonly code: string;
  /** Threads among which the four numbers of a vector are divided, a stride apart. */
  readonly sharing: number;
  /** Which of the four is the thread's first one. */
  readonly first: string;
  /** The numbers of vector i that a thread has. */
  parts(i: number): readonly string[];
}

/**
 * Adds up `sum0` and up, vectors of four, over threads whose places differ in the bits of `strides`, ascending: at the first two each of a pair gives half of what it has and keeps
 * the sums of the other half, so that four numbers need 4 exchanges in place of 12.
 */
export function scatterSums(count: number, strides: readonly number[]): ScatteredSums {
  const [wide, narrow, ...rest] = strides;
  const isLower = (stride: number) => `(thread & ${stride}u) == 0u`;
  const exchange = (from: string, stride: number, [low, high]: readonly [string, string]) =>
    `select(${from}.${high}, ${from}.${low}, ${isLower(stride)}) + subgroupShuffleXor(select(${from}.${low}, ${from}.${high}, ${isLower(stride)}), ${stride}u)`;
  if (wide === undefined)
    return { code: "", sharing: 1, first: "0u", parts: (i) => [..."xyzw"].map((axis) => `sum${i}.${axis}`) };
  const halves = each(count, (i) => `  let half${i} = ${exchange(`sum${i}`, wide, ["xy", "zw"])};`);
  const high = `select(2u, 0u, ${isLower(wide)})`;
  if (narrow === undefined)
    return { code: halves, sharing: 2, first: high, parts: (i) => [`half${i}.x`, `half${i}.y`] };
  const singles = each(
    count,
    (i) => `  var total${i} = ${exchange(`half${i}`, narrow, ["x", "y"])};
${rest.map((stride) => `  total${i} += subgroupShuffleXor(total${i}, ${stride}u);`).join("\n")}`,
  );
  const first = `${high} + select(1u, 0u, ${isLower(narrow)})`;
  return { code: `${halves}\n${singles}`, sharing: 4, first, parts: (i) => [`total${i}`] };
}
