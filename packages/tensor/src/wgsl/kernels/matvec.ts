import type { DType } from "../../dtype.js";
import type { WgslFeatures, WgslKernel, WgslStep } from "../kernel.js";
import { bufferAt, wgslStep } from "../step.js";
import { each, numbered, teamOf } from "./team.js";

/** y[m, n] = sum_k x[m, k] w[n, k] for few rows m: the weight is read once and bounds the time. */
export interface MatvecCall {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly dtypes: { readonly x: DType; readonly w: DType; readonly y: DType };
}

const threads = 256;
/** Weights of one 16-byte load. */
const perLoad = 8;
/** Rows of x that a kernel keeps sums for at most. */
export const maxMatvecRows = 8;
/** With fewer outputs the threads of a workgroup work on the same ones. */
const manyOutputs = 32_768;

const isHalf = (dtype: DType) => dtype === "f16" || dtype === "bf16";

/** How threads share the work. */
interface Shape {
  /** Threads that add up the same outputs. */
  readonly lanes: number;
  readonly outputs: number;
  /** Loads of a thread for each output that are under way together. */
  readonly ahead: number;
}

/**
 * Each team of threads makes a few outputs: a subgroup where there are many, a whole workgroup where there are few; 16 bytes
 * of weights a thread at a time, several loads ahead. Arithmetic is f32.
 *
 * For half-precision weights whose inner extent is a multiple of 8 and at most 8 rows; undefined else. Twin: matmul's loops.
 */
export function matvecWgsl(call: MatvecCall, features: WgslFeatures): WgslKernel | undefined {
  const { M, N, K, dtypes } = call;
  const fits = isHalf(dtypes.w) && K % perLoad === 0 && N % 2 === 0 && M <= maxMatvecRows;
  if (!fits || ![dtypes.x, dtypes.y].every((dtype) => dtype === "f32" || isHalf(dtype))) return undefined;
  return { steps: [matvecStep(call, features, shapeOf(call, teamOf(features, threads).size))] };
}

/** The product in a given shape of work. */
function matvecStep(call: MatvecCall, features: WgslFeatures, shape: Shape): WgslStep {
  const { M, N, K, dtypes } = call;
  const team = teamOf(features, threads);
  const { lanes, outputs, ahead } = shape;
  const teams = threads / lanes;
  const sums = numbered("sum", M * outputs);
  return wgslStep({
    buffers: [
      { name: "x", memory: bufferAt(0), dtype: dtypes.x, access: "read", element: "vec4u" },
      { name: "w", memory: bufferAt(1), dtype: dtypes.w, access: "read", element: "vec4u" },
      { name: "y", memory: bufferAt(2), dtype: dtypes.y, access: "words", element: "u32" },
    ],
    params: { N, chunks: K / perLoad },
    groups: Math.ceil(N / (teams * outputs)),
    enable: team.enable,
    declarations: [
      team.declarations,
      `var<workgroup> totals: array<f32, ${(threads / team.size) * sums.length}>;`,
      dotFunction(dtypes),
      loadFunction(dtypes),
    ].join("\n"),
    body: `  let lane = thread % ${lanes}u;
  let first = (group * ${teams}u + thread / ${lanes}u) * ${outputs}u;
${each(outputs, (r) => `  let row${r} = min(first + ${r}u, P.N - 1u) * P.chunks;`)}
${each(sums.length, (i) => `  var ${sums[i]} = 0.0;`)}
  var c = lane;
  for (; c + ${(ahead - 1) * lanes}u < P.chunks; c += ${ahead * lanes}u) {
${loadsAndSums(M, shape)}
  }
  for (; c < P.chunks; c += ${lanes}u) {
${loadsAndSums(M, { ...shape, ahead: 1 })}
  }
${team.sum(sums)}
${lanes > team.size ? acrossTeams(sums, team.size) : ""}
  if (lane == 0u) {
${each(M * (outputs / 2), (i) => storePair(dtypes.y, { m: Math.floor(i / (outputs / 2)), pair: i % (outputs / 2), outputs }))}
  }`,
  });
}

/** A whole workgroup for two outputs, unless there are so many outputs, or so few inputs, that subgroups do as well alone. */
function shapeOf({ N, K }: MatvecCall, teamSize: number): Shape {
  const isLong = K >= (perLoad * threads) / 2;
  return isLong && N <= manyOutputs
    ? { lanes: threads, outputs: 2, ahead: 2 }
    : { lanes: teamSize, outputs: 2, ahead: 4 };
}

function loadsAndSums(M: number, { lanes, outputs, ahead }: Shape): string {
  const at = (u: number) => `c + ${u * lanes}u`;
  return [
    each(ahead, (u) => each(outputs, (r) => `    let w${u}_${r} = w[row${r} + ${at(u)}];`)),
    each(ahead, (u) =>
      each(
        M,
        (m) => `    { let v = loadRow(${m}u * P.chunks + ${at(u)});
${each(outputs, (r) => `      sum${m * outputs + r} += dot8(v, w${u}_${r});`)} }`,
      ),
    ),
  ].join("\n");
}

/** Adds up the sums of all teams of the workgroup. */
function acrossTeams(sums: readonly string[], teamSize: number): string {
  const teams = threads / teamSize;
  return `  if (thread % ${teamSize}u == 0u) {
${each(sums.length, (i) => `    totals[${i * teams}u + thread / ${teamSize}u] = ${sums[i]};`)}
  }
  workgroupBarrier();
  if (thread == 0u) {
${each(sums.length, (i) => `    ${sums[i]} = ${Array.from({ length: teams }, (_, t) => `totals[${i * teams + t}]`).join(" + ")};`)}
  }`;
}

/** Eight elements of x as two vectors. */
function loadFunction({ x }: MatvecCall["dtypes"]): string {
  const pair = `struct Eight { low: vec4f, high: vec4f };`;
  if (x === "f32") {
    return `${pair}
fn loadRow(c: u32) -> Eight { return Eight(bitcast<vec4f>(x[2u * c]), bitcast<vec4f>(x[2u * c + 1u])); }`;
  }
  return `${pair}
fn loadRow(c: u32) -> Eight { let v = x[c]; return Eight(${widened(x, "v", ["x", "y"])}, ${widened(x, "v", ["z", "w"])}); }`;
}

function dotFunction({ w }: MatvecCall["dtypes"]): string {
  return `fn dot8(v: Eight, q: vec4u) -> f32 {
  return dot(v.low, ${widened(w, "q", ["x", "y"])}) + dot(v.high, ${widened(w, "q", ["z", "w"])});
}`;
}

/** Four half floats of two words as vec4f. */
function widened(dtype: DType, name: string, [first, second]: readonly [string, string]): string {
  const [a, b] = [`${name}.${first}`, `${name}.${second}`];
  if (dtype === "f16") return `vec4f(unpack2x16float(${a}), unpack2x16float(${b}))`;
  return `bitcast<vec4f>(vec4u(${a} << 16u, ${a} & 0xffff0000u, ${b} << 16u, ${b} & 0xffff0000u))`;
}

/** Stores two neighbouring outputs of row m. */
function storePair(
  dtype: DType,
  { m, pair, outputs }: { readonly m: number; readonly pair: number; readonly outputs: number },
): string {
  const [a, b] = [0, 1].map((i) => `sum${m * outputs + pair * 2 + i}`);
  const at = `${m}u * P.N + first + ${pair * 2}u`;
  const encode = dtype === "f16" ? "h_toF16" : "h_toBf16";
  const store =
    dtype === "f32"
      ? `y[${at}] = bitcast<u32>(${a}); y[${at} + 1u] = bitcast<u32>(${b});`
      : `y[(${at}) / 2u] = ${encode}(${a}) | (${encode}(${b}) << 16u);`;
  return `    if (first + ${pair * 2}u < P.N) { ${store} }`;
}
