import type { TensorType } from "@heddle/tensor";
import { type BufferUse, bufferAt } from "@heddle/tensor/kernel";

/** Threads of a workgroup. */
export const threads = 256;
/** Logits that a workgroup looks through at least. */
const perGroup = 1024;

/** How workgroups share rows of `width` logits: at most as many for each as one workgroup has threads to join what they found. */
export function stretchesOf(width: number): { readonly parts: number; readonly stretch: number } {
  const parts = Math.min(threads, Math.ceil(width / perGroup));
  return { parts, stretch: Math.ceil(width / parts) };
}

/** An input that kernels read element by element. */
export const readInput = (name: string, index: number, dtype: TensorType["dtype"]): BufferUse => ({
  name,
  memory: bufferAt(index),
  dtype,
  access: "read",
});

export const isReadable = ({ dtype }: TensorType): boolean =>
  dtype === "f32" || dtype === "f16" || dtype === "bf16";

/** `keepBest` leaves the first of the greatest (or what is no number) in place 0; `addUp` adds what all threads have. */
export const shared = `var<workgroup> bestValue: array<f32, ${threads}>;
var<workgroup> bestIndex: array<u32, ${threads}>;
var<workgroup> sums: array<f32, ${threads}>;
fn before(a: f32, i: u32, b: f32, j: u32) -> bool {
  let aNan = h_isNan(a);
  let bNan = h_isNan(b);
  if (aNan != bNan) { return aNan; }
  if (!aNan && a != b) { return a > b; }
  return i < j;
}
fn keepBest(thread: u32, value: f32, index: u32) {
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
}
fn addUp(thread: u32, value: f32) -> f32 {
  workgroupBarrier();
  sums[thread] = value;
  for (var half = ${threads / 2}u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) { sums[thread] += sums[thread + half]; }
  }
  workgroupBarrier();
  return sums[0];
}`;

/** `runningSums` leaves each thread's sum of all up to it in `running`; `firstReached` the first with weight that reaches `goal`. */
export const reachFunctions = `var<workgroup> running: array<f32, ${threads}>;
var<workgroup> reached: atomic<u32>;
var<workgroup> goal: f32;
var<workgroup> below: f32;
var<workgroup> chosenToken: u32;
fn runningSums(thread: u32, value: f32) {
  workgroupBarrier();
  running[thread] = value;
  for (var reach = 1u; reach < ${threads}u; reach *= 2u) {
    workgroupBarrier();
    var before = 0.0;
    if (thread >= reach) { before = running[thread - reach]; }
    workgroupBarrier();
    running[thread] += before;
  }
  workgroupBarrier();
}
/** The first thread with weight whose running sum reaches the goal. */
fn firstReached(thread: u32, weight: f32) -> u32 {
  if (thread == 0u) { atomicStore(&reached, ${threads - 1}u); }
  workgroupBarrier();
  if (weight > 0.0 && running[thread] >= goal) { atomicMin(&reached, thread); }
  workgroupBarrier();
  return atomicLoad(&reached);
}`;
