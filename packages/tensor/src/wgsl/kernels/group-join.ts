/** Joins what the threads of a workgroup hold: `joined_NAME(thread, value)` is the total, in every thread. */
export function groupJoin(name: string, combine: string, threads = 256): string {
  return `var<workgroup> parts_${name}: array<f32, ${threads}>;
fn joined_${name}(thread: u32, value: f32) -> f32 {
  workgroupBarrier();
  parts_${name}[thread] = value;
  for (var half = ${threads / 2}u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) {
      let a = parts_${name}[thread];
      let b = parts_${name}[thread + half];
      parts_${name}[thread] = ${combine};
    }
  }
  workgroupBarrier();
  return parts_${name}[0];
}`;
}
