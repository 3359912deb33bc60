import type { TensorType } from "@heddle/tensor";
import { type BufferUse, bufferAt, keepBestCode, orderCode } from "@heddle/tensor/kernel";

/** Threads of a workgroup. */
export const threads = 256;
/** Logits that a workgroup looks through at least. */
const perGroup = 1024;

/** How workgroups share rows of `width` logits: at most as many for each as one workgroup has threads to join what they held. */
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
export const shared = `${orderCode("f32", true)}
${keepBestCode("f32", threads)}
var<workgroup> sums: array<f32, ${threads}>;
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

/** Names the greatest logit of a stretch, `top`, and where it is, `first`; given `row`, `begin` and `end`. */
export const greatestOfStretch = `  var index = min(begin + thread, P.width - 1u);
  var value = load_logits(row * P.width + index);
  for (var j = begin + thread; j < end; j += ${threads}u) {
    let x = load_logits(row * P.width + j);
    if (before(x, j, value, index)) { value = x; index = j; }
  }
  keepBest(thread, value, index);
  let top = bestValue[0];
  let first = bestIndex[0];`;

/** Names the greatest logit of a row, `top`, and what the thread's stretch holds, `held`, if it has one: `isPart`. */
export const greatestOfRow = `  let isPart = thread < P.parts && thread * P.stretch < P.width;
  let own = select(0u, thread, isPart);
  let held = parts[row * P.parts + own];
  keepBest(thread, held.x, bitcast<u32>(held.z));
  let top = bestValue[0];`;

/** The same, and the likeliest token with its log-probability. */
export const likeliestOfRow = `${greatestOfRow}
  var token = bestIndex[0];
  let total = addUp(thread, select(0.0, held.y * exp(held.x - top), isPart));
  var logprob = -log(total);`;

/** The log-probability of another token, in its place. */
export const logprobOfToken = "    logprob = load_logits(row * P.width + token) - top - log(total);";

/** Writes what a row has chosen. */
export const storeChoice = `  if (thread == 0u) {
    store_tokens(row, i32(token));
    store_results(2u * row, f32(token));
    store_results(2u * row + 1u, select(logprob, h_nan(), h_isNan(top) || h_isNan(total)));
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

/**
 * Finds the stretch that a draw falls into, `part`, with what lies before it, `below`, and the thread's run of it, `mine` up to `mineEnd`;
 * given running sums of `weight`, one for each stretch, and the `goal`.
 */
export const runInStretch = (weight: string): string => `  let part = firstReached(thread, ${weight});
  if (thread == 0u) {
    below = 0.0;
    if (part > 0u) { below = running[part - 1u]; }
  }
  workgroupBarrier();
  let begin = part * P.stretch;
  let end = min(begin + P.stretch, P.width);
  let each = (end - begin + ${threads - 1}u) / ${threads}u;
  let mine = min(begin + thread * each, end);
  let mineEnd = min(mine + each, end);`;
