import { isHalf } from "../../dtype.js";
import { sizeOf, type TensorType } from "../../shape.js";
import type { WgslFeatures, WgslKernel } from "../kernel.js";
import { type BufferUse, bufferAt, wgslStep } from "../step.js";
import { laneOf, vectorLanes, vectorOf } from "../vectors.js";
import { groupSum } from "./group-join.js";
import { each } from "./team.js";

/** A norm over the last axis and the inputs that it has beside x, in the order of the launch. */
export type RowNorm =
  | { readonly kind: "rms"; readonly eps: number; readonly offset: number }
  | { readonly kind: "layer"; readonly eps: number; readonly hasWeight: boolean; readonly hasBias: boolean };

/** Vectors of a row that a thread keeps at most. */
const maxVectors = 4;
const maxThreads = 256;

/**
 * A norm of rows that are whole vectors of 16 bytes: each thread reads its vectors once, keeps them while their sums are formed, and
 * writes whole vectors. Undefined for other rows, and for longer ones than a workgroup keeps. Twins: `rmsNormWgsl`, `layerNormWgsl`.
 */
export function normVectorsWgsl(
  x: TensorType,
  norm: RowNorm,
  features: WgslFeatures,
): WgslKernel | undefined {
  const { dtype } = x;
  if (dtype !== "f32" && !isHalf(dtype)) return undefined;
  const columns = x.shape.at(-1) ?? 1;
  const lanes = vectorLanes(dtype);
  const vectors = columns / lanes;
  if (columns === 0 || columns % lanes !== 0 || vectors > maxVectors * maxThreads) return undefined;
  const threads = [32, 64, 128, maxThreads].find((count) => count >= vectors) ?? maxThreads;
  const kept = Math.ceil(vectors / threads);
  const sum = groupSum("sum", features, threads);
  const affine =
    norm.kind === "rms"
      ? ["weight"]
      : [...(norm.hasWeight ? ["weight"] : []), ...(norm.hasBias ? ["bias"] : [])];
  const buffer = (name: string, index: number, access: "read" | "words"): BufferUse => ({
    name,
    memory: bufferAt(index),
    dtype,
    access,
    element: "vec4u",
  });
  const isInside = (v: number) => (vectors % threads === 0 ? "true" : `at${v} < P.vectors`);
  const total = (term: (value: string) => string) =>
    each(kept, (v) => {
      const terms = Array.from({ length: lanes }, (_, j) => term(`v${v}_${j}`));
      return `  if (${isInside(v)}) { total += ${terms.join(" + ")}; }`;
    });
  const result = (v: number) => {
    const values = Array.from({ length: lanes }, (_, j) => {
      const value = norm.kind === "rms" ? `v${v}_${j}` : `(v${v}_${j} - mean)`;
      const weight = laneOf(dtype, "weights", j);
      if (norm.kind === "rms") return `${value} * r * (${weight} + P.offset)`;
      const scaled = norm.hasWeight ? `${value} * r * ${weight}` : `${value} * r`;
      return norm.hasBias ? `${scaled} + ${laneOf(dtype, "biases", j)}` : scaled;
    });
    return `  if (${isInside(v)}) {
${affine.map((name) => `    let ${name === "bias" ? "biases" : "weights"} = ${name}[at${v}];`).join("\n")}
    y[base + at${v}] = ${vectorOf(dtype, values)};
  }`;
  };
  const step = wgslStep({
    buffers: [
      buffer("x", 0, "read"),
      ...affine.map((name, i) => buffer(name, 1 + i, "read")),
      buffer("y", 1 + affine.length, "words"),
    ],
    params: {
      columns: { f32: columns },
      vectors,
      eps: { f32: norm.eps },
      ...(norm.kind === "rms" && { offset: { f32: norm.offset } }),
    },
    threads,
    groups: sizeOf(x.shape) / columns,
    enable: sum.enable,
    declarations: sum.declarations,
    body: `  let base = group * P.vectors;
${each(kept, (v) => `  let at${v} = thread + ${v * threads}u;\n  let w${v} = x[base + min(at${v}, P.vectors - 1u)];`)}
${each(kept * lanes, (i) => `  let v${Math.floor(i / lanes)}_${i % lanes} = ${laneOf(dtype, `w${Math.floor(i / lanes)}`, i % lanes)};`)}
  var total = 0.0;
${norm.kind === "layer" ? `${total((value) => value)}\n  let mean = joined_sum(thread, total) / P.columns;\n  total = 0.0;` : ""}
${total((value) => (norm.kind === "layer" ? `(${value} - mean) * (${value} - mean)` : `${value} * ${value}`))}
  let r = inverseSqrt(joined_sum(thread, total) / P.columns + P.eps);
${each(kept, result)}`,
  });
  return { steps: [step] };
}
