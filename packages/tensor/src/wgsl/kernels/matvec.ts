import type { DType } from "../../dtype.js";
import type { WgslFeatures, WgslKernel } from "../kernel.js";
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
/** Weights of one 16-byte load; loads of a thread that are under way together. */
const perLoad = 8;
const loadsAhead = 4;
/** Rows of x that a kernel keeps sums for at most. */
export const maxMatvecRows = 8;

const isHalf = (dtype: DType) => dtype === "f16" || dtype === "bf16";

/**
 * A team of threads for two (with many rows of x: one) outputs, 16 bytes of weights a thread at a time, several loads ahead.
 * For half-precision weights whose inner extent is a multiple of 8 and at most 8 rows; undefined else. Arithmetic is f32.
 * Twin: matmul's loops.
 */
export function matvecWgsl(call: MatvecCall, features: WgslFeatures): WgslKernel | undefined {
  const { M, N, K, dtypes } = call;
  const fits = isHalf(dtypes.w) && K % perLoad === 0 && N % 2 === 0 && M <= maxMatvecRows;
  if (!fits || ![dtypes.x, dtypes.y].every((dtype) => dtype === "f32" || isHalf(dtype))) return undefined;
  const team = teamOf(features, threads);
  const outputs = 2;
  const teams = threads / team.size;
  const sums = numbered("sum", M * outputs);
  const step = wgslStep({
    buffers: [
      { name: "x", memory: bufferAt(0), dtype: dtypes.x, access: "read", element: "vec4u" },
      { name: "w", memory: bufferAt(1), dtype: dtypes.w, access: "read", element: "vec4u" },
      { name: "y", memory: bufferAt(2), dtype: dtypes.y, access: "words", element: "u32" },
    ],
    params: { N, chunks: K / perLoad },
    groups: Math.ceil(N / (teams * outputs)),
    enable: team.enable,
    declarations: [team.declarations, dotFunction(dtypes), loadFunction(dtypes)].join("\n"),
    body: `  let lane = thread % ${team.size}u;
  let first = (group * ${teams}u + thread / ${team.size}u) * ${outputs}u;
  let at = min(first, P.N - ${outputs}u);
  let row = at * P.chunks;
${each(sums.length, (i) => `  var ${sums[i]} = 0.0;`)}
  var c = lane;
  for (; c + ${(loadsAhead - 1) * team.size}u < P.chunks; c += ${loadsAhead * team.size}u) {
${loadsAndSums({ M, loads: loadsAhead, teamSize: team.size })}
  }
  for (; c < P.chunks; c += ${team.size}u) {
${loadsAndSums({ M, loads: 1, teamSize: team.size })}
  }
${team.sum(sums)}
  if (lane == 0u && first < P.N) {
${each(M, (m) => storePair(dtypes.y, m, [`sum${m * 2}`, `sum${m * 2 + 1}`]))}
  }`,
  });
  return { steps: [step] };
}

function loadsAndSums({ M, loads, teamSize }: { M: number; loads: number; teamSize: number }): string {
  const at = (u: number) => `c + ${u * teamSize}u`;
  return [
    each(loads, (u) => `    let p${u} = w[row + ${at(u)}];\n    let q${u} = w[row + P.chunks + ${at(u)}];`),
    each(loads, (u) =>
      each(
        M,
        (m) => `    { let v = loadRow(${m}u * P.chunks + ${at(u)});
      sum${m * 2} += dot8(v, p${u});
      sum${m * 2 + 1} += dot8(v, q${u}); }`,
      ),
    ),
  ].join("\n");
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
function storePair(dtype: DType, m: number, [a, b]: readonly [string, string]): string {
  const at = `${m}u * P.N + first`;
  if (dtype === "f32") return `    y[${at}] = bitcast<u32>(${a}); y[${at} + 1u] = bitcast<u32>(${b});`;
  const encode = dtype === "f16" ? "h_toF16" : "h_toBf16";
  return `    y[(${at}) / 2u] = ${encode}(${a}) | (${encode}(${b}) << 16u);`;
}
