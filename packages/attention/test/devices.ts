import { cpu, type Device, reference } from "@heddle/tensor";

/** Every device that the suites run on, with the tolerance that its arithmetic allows. */
export const devices: readonly {
  readonly name: string;
  readonly create: () => Device;
  readonly tolerance: { readonly absolute: number; readonly relative: number };
}[] = [
  { name: "reference", create: () => reference(), tolerance: { absolute: 1e-6, relative: 1e-6 } },
  { name: "cpu", create: () => cpu({ threads: 1 }), tolerance: { absolute: 1e-5, relative: 1e-4 } },
  {
    name: "cpu with two threads",
    create: () => cpu({ threads: 2 }),
    tolerance: { absolute: 1e-5, relative: 1e-4 },
  },
];

/** Largest |actual - expected| - relative * |expected|: at most the absolute tolerance. NaN counts as infinite. */
export function worstExcess(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  relative: number,
): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY;
  let worst = 0;
  for (let i = 0; i < actual.length; i++) {
    const [a, e] = [actual[i] ?? Number.NaN, expected[i] ?? Number.NaN];
    if (a === e) continue;
    const excess = Math.abs(a - e) - relative * Math.abs(e);
    worst = Number.isNaN(excess) ? Number.POSITIVE_INFINITY : Math.max(worst, excess);
  }
  return worst;
}
