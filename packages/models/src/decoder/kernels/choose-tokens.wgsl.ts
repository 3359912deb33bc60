import type { TensorType } from "@heddle/tensor";
import { bufferAt, scratchAt, type WgslKernel, wgslStep } from "@heddle/tensor/kernel";
import {
  greatestOfStretch,
  isReadable,
  likeliestOfRow,
  logprobOfToken,
  reachFunctions,
  readInput as read,
  runInStretch,
  shared,
  storeChoice,
  stretchesOf,
  threads,
} from "./choice-parts.wgsl.js";
import type { TokenSelect } from "./select-threshold.wgsl.js";
import { truncatedChoiceWgsl } from "./truncated-choice.wgsl.js";

export interface ChooseTokensParams {
  /**
   * "likeliest"; "drawn" at one temperature; "rows": drawn at a temperature for each row, where 0 takes the likeliest; or "truncated":
   * the same, out of what filters leave.
   */
  readonly kind: "likeliest" | "drawn" | "rows" | "truncated";
  /** Of "drawn". */
  readonly temperature: number;
  /** Of "truncated": what any row cuts by, in the order "topK", "topP". */
  readonly selects?: readonly TokenSelect[];
}

/**
 * Workgroups find the greatest of a stretch of a row and the sums of its exponentials, as they are and at the row's temperature;
 * then one workgroup a row joins the stretches and, where it draws, goes through the one that the draw falls into. Twin: the
 * composition of the op. Buffers: logits, draws and temperatures where there are any, tokens, results.
 */
export function chooseTokensWgsl(
  inputs: readonly TensorType[],
  { kind, temperature, selects = [] }: ChooseTokensParams,
): WgslKernel | undefined {
  const [logits, ...drawing] = inputs;
  const [rows = 0, width = 0] = logits?.shape ?? [];
  if (logits === undefined || width === 0 || rows === 0 || !isReadable(logits)) return undefined;
  if (drawing.some(({ dtype }) => dtype !== "f32")) return undefined;
  if (kind === "truncated") return truncatedChoiceWgsl(logits, selects);
  const { parts, stretch } = stretchesOf(width);
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
${greatestOfStretch}
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
    declarations: isDrawn ? `${shared}\n${reachFunctions}\n${drawFunctions}` : shared,
    body: `  let row = group;
${likeliestOfRow}
${
  isDrawn
    ? `  if (${kind === "rows" ? `${heat} > 0.0` : "true"}) {
    let cold = 1.0 / max(${heat}, 1e-30);
    token = drawn(thread, row, DrawState(select(0.0, held.w * exp((held.x - top) * cold), isPart), top, cold));
${logprobOfToken}
  }`
    : ""
}
${storeChoice}`,
  });
  return { steps: [found, joined], scratch: [rows * parts * 16] };
}

/**
 * `drawn` finds the first logit at which the running sum of weights reaches the draw: first the stretch, then the run of a
 * thread in it, then the logit. Where rounding keeps sums below, the last that has weight.
 */
const drawFunctions = `struct DrawState { weight: f32, top: f32, cold: f32 };
fn weightAt(row: u32, j: u32, by: DrawState) -> f32 {
  return exp((load_logits(row * P.width + j) - by.top) * by.cold);
}
fn drawn(thread: u32, row: u32, by: DrawState) -> u32 {
  runningSums(thread, by.weight);
  if (thread == 0u) { goal = min(load_draws(row), 1.0) * running[${threads - 1}]; }
  workgroupBarrier();
${runInStretch("by.weight")}
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
