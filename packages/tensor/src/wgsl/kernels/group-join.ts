import type { WgslFeatures } from "../kernel.js";
import { teamOf } from "./team.js";

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

/** `joined_NAME(thread, value)` for sums: subgroups add up first where they are large, so that two barriers do. */
export function groupSum(
  name: string,
  features: WgslFeatures,
  threads: number,
): { readonly enable: string; readonly declarations: string } {
  const { size, enable } = teamOf(features, threads);
  if (enable === "" || size < 32 || threads % size !== 0)
    return { enable: "", declarations: groupJoin(name, "a + b", threads) };
  return {
    enable,
    declarations: `var<workgroup> parts_${name}: array<f32, ${threads / size}>;
fn joined_${name}(thread: u32, value: f32) -> f32 {
  let own = subgroupAdd(value);
  workgroupBarrier();
  if (thread % ${size}u == 0u) { parts_${name}[thread / ${size}u] = own; }
  workgroupBarrier();
  var total = 0.0;
  for (var i = 0u; i < ${threads / size}u; i++) { total += parts_${name}[i]; }
  return total;
}`,
  };
}
