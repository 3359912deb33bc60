/** Whether (a, i) comes before (b, j): NaN first, then the larger (or smaller), then the one that stands first. */
export function orderCode(type: string, largest: boolean): string {
  const nan =
    type === "f32"
      ? "let aNan = h_isNan(a);\n  let bNan = h_isNan(b);\n  if (aNan != bNan) { return aNan; }\n  if (!aNan && a != b)"
      : "if (a != b)";
  return `fn before(a: ${type}, i: u32, b: ${type}, j: u32) -> bool {
  ${nan} { return a ${largest ? ">" : "<"} b; }
  return i < j;
}`;
}

/** `keepBest` leaves the first of what a workgroup's threads hold, by `before`, in place 0 of `bestValue` and `bestIndex`. */
export function keepBestCode(type: string, threads: number): string {
  return `var<workgroup> bestValue: array<${type}, ${threads}>;
var<workgroup> bestIndex: array<u32, ${threads}>;
fn keepBest(thread: u32, value: ${type}, index: u32) {
  bestValue[thread] = value;
  bestIndex[thread] = index;
  for (var half = ${threads / 2}u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half && before(bestValue[thread + half], bestIndex[thread + half], bestValue[thread], bestIndex[thread])) {
      bestValue[thread] = bestValue[thread + half];
      bestIndex[thread] = bestIndex[thread + half];
    }
  }
  workgroupBarrier();
}`;
}
