import type { TensorType } from "@heddle/tensor";
import { type BufferUse, bufferAt, scratchAt, type WgslKernel, wgslStep } from "@heddle/tensor/kernel";

export interface ChooseTokensParams {
  /** "likeliest", "drawn" at one temperature, or "rows": drawn at a temperature for each row, where 0 takes the likeliest. */
  readonly kind: "likeliest" | "drawn" | "rows";
  /** Of "drawn". */
  readonly temperature: number;
}

const threads = 256;
/** Logits that a workgroup looks through at least. */
const perGroup = 1024;
/** Workgroups of a row at most: one workgroup joins what they found. */
const mostParts = threads;

/**
 * Workgroups find the greatest of a stretch of a row and the sums of its exponentials, as they are and at the row's temperature;
 * then one workgroup a row joins the stretches and, where it draws, goes through the one that the draw falls into. Twin: the
 * composition of the op. Buffers: logits, draws and temperatures where there are any, tokens, results.
 */
export function chooseTokensWgsl(
  inputs: readonly TensorType[],
  { kind, temperature }: ChooseTokensParams,
): WgslKernel | undefined {
  const [logits, ...drawing] = inputs;
  const [rows = 0, width = 0] = logits?.shape ?? [];
  if (logits === undefined || width === 0 || rows === 0 || !isReadable(logits)) return undefined;
  if (drawing.some(({ dtype }) => dtype !== "f32")) return undefined;
  const parts = Math.min(mostParts, Math.ceil(width / perGroup));
  const stretch = Math.ceil(width / parts);
  const read = (name: string, index: number, dtype: TensorType["dtype"]): BufferUse => ({
    name,
    memory: bufferAt(index),
    dtype,
    access: "read",
  });
  const isDrawn = kind !== "likeliest";
  const heats = kind === "rows" ? [read("heats", 2, "f32")] : [];
  const heat = kind === "rows" ? "load_heats(row)" : "P.heat";
  const params = { width, stretch, parts, heat: { f32: temperature } };
  const found = wgslStep({
    buffers: [
      read("logits", 0, logits.dtype),
      { name: "parts", memory: scratchAt(0), dtype: "f32", access: "words", element: "vec4f" },
      ...heats,
    ],
    params,
    threads,
    groups: rows * parts,
    declarations: shared,
    body: `  let row = group / P.parts;
  let begin = min((group % P.parts) * P.stretch, P.width);
  let end = min(begin + P.stretch, P.width);
  var index = min(begin + thread, P.width - 1u);
  var value = load_logits(row * P.width + index);
  for (var j = begin + thread; j < end; j += ${threads}u) {
    let x = load_logits(row * P.width + j);
    if (before(x, j, value, index)) { value = x; index = j; }
  }
  keepBest(thread, value, index);
  let top = bestValue[0];
  let first = bestIndex[0];
  var sum = 0.0;
  var heated = 0.0;
  ${isDrawn ? `let cold = 1.0 / max(${heat}, 1e-30);` : ""}
  for (var j = begin + thread; j < end; j += ${threads}u) {
    let x = load_logits(row * P.width + j) - top;
    sum += exp(x);
    ${isDrawn ? "heated += exp(x * cold);" : ""}
  }
  let total = addUp(thread, sum);
  ${isDrawn ? "heated = addUp(thread, heated);" : ""}
  if (thread == 0u) { parts[group] = vec4f(top, total, bitcast<f32>(first), heated); }`,
  });
  const joined = wgslStep({
    buffers: [
      ...(isDrawn ? [read("logits", 0, logits.dtype), read("draws", 1, "f32")] : []),
      ...heats,
      { name: "parts", memory: scratchAt(0), dtype: "f32", access: "read", element: "vec4f" },
      { name: "tokens", memory: bufferAt(inputs.length), dtype: "i32", access: "write" },
      { name: "results", memory: bufferAt(inputs.length + 1), dtype: "f32", access: "write" },
    ],
    params,
    threads,
    groups: rows,
    declarations: isDrawn ? `${shared}\n${drawFunctions}` : shared,
    body: `  let row = group;
  let isPart = thread < P.parts && thread * P.stretch < P.width;
  let part = parts[row * P.parts + select(0u, thread, isPart)];
  keepBest(thread, part.x, bitcast<u32>(part.z));
  let top = bestValue[0];
  var token = bestIndex[0];
  let total = addUp(thread, select(0.0, part.y * exp(part.x - top), isPart));
  var logprob = -log(total);
${
  isDrawn
    ? `  if (${kind === "rows" ? `${heat} > 0.0` : "true"}) {
    let cold = 1.0 / max(${heat}, 1e-30);
    token = drawn(thread, row, DrawState(select(0.0, part.w * exp((part.x - top) * cold), isPart), top, cold));
    logprob = load_logits(row * P.width + token) - top - log(total);
  }`
    : ""
}
  if (thread == 0u) {
    store_tokens(row, i32(token));
    store_results(2u * row, f32(token));
    store_results(2u * row + 1u, select(logprob, h_nan(), h_isNan(top) || h_isNan(total)));
  }`,
  });
  return { steps: [found, joined], scratch: [rows * parts * 16] };
}

const isReadable = ({ dtype }: TensorType) => dtype === "f32" || dtype === "f16" || dtype === "bf16";

/** `keepBest` leaves the first of the greatest (or what is no number) in place 0; `addUp` adds what all threads have. */
const shared = `var<workgroup> bestValue: array<f32, ${threads}>;
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

/**
 * `drawn` finds the first logit at which the running sum of weights reaches the draw: first the stretch, then the run of a
 * thread in it, then the logit. Where rounding keeps sums below, the last that has weight.
 */
const drawFunctions = `struct DrawState { weight: f32, top: f32, cold: f32 };
var<workgroup> running: array<f32, ${threads}>;
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
}
fn weightAt(row: u32, j: u32, by: DrawState) -> f32 {
  return exp((load_logits(row * P.width + j) - by.top) * by.cold);
}
fn drawn(thread: u32, row: u32, by: DrawState) -> u32 {
  runningSums(thread, by.weight);
  if (thread == 0u) { goal = min(load_draws(row), 1.0) * running[${threads - 1}]; }
  workgroupBarrier();
  let part = firstReached(thread, by.weight);
  if (thread == 0u) {
    below = 0.0;
    if (part > 0u) { below = running[part - 1u]; }
  }
  workgroupBarrier();
  let begin = part * P.stretch;
  let end = min(begin + P.stretch, P.width);
  let each = (end - begin + ${threads - 1}u) / ${threads}u;
  let mine = min(begin + thread * each, end);
  let mineEnd = min(mine + each, end);
  var weight = 0.0;
  for (var j = mine; j < mineEnd; j++) { weight += weightAt(row, j, by); }
  runningSums(thread, weight);
  if (thread == 0u) { goal = min(goal - below, running[${threads - 1}]); }
  workgroupBarrier();
  if (thread == firstReached(thread, weight)) {
    var sum = running[thread] - weight;
    var last = mine;
    for (var j = mine; j < mineEnd; j++) {
      let own = weightAt(row, j, by);
      if (own > 0.0) {
        last = j;
        sum += own;
        if (sum >= goal) { break; }
      }
    }
    chosenToken = last;
  }
  workgroupBarrier();
  return chosenToken;
}`;
