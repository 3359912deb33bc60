import { sizeOf, type TensorType } from "../../shape.js";
import type { WgslKernel, WgslStep } from "../kernel.js";
import { type BufferUse, bufferAt, type StepParam, scratchAt, wgslStep } from "../step.js";
import { groupJoin } from "./group-join.js";

/** Threads that share a row: enough for a wide one, none idle for a narrow one. */
export function rowThreads(columns: number): number {
  return columns > 128 ? 256 : columns > 32 ? 64 : 32;
}

/** One workgroup for each row of the last axis. */
interface RowStep {
  /** Inputs in the order of the launch, then outputs; rows of the same width, or vectors as the body knows. */
  readonly buffers: readonly BufferUse[];
  readonly type: TensorType;
  readonly joins: Readonly<Record<string, string>>;
  readonly params?: Readonly<Record<string, StepParam>>;
  /** With `base` (where the row begins), `P.columns` and `each` loops written by `eachColumn`. */
  readonly body: string;
}

function rowStep({ buffers, type, joins, params, body }: RowStep): WgslStep {
  const columns = type.shape.at(-1) ?? 1;
  const threads = rowThreads(columns);
  return wgslStep({
    buffers,
    params: { columns, ...params },
    threads,
    groups: columns === 0 ? 0 : sizeOf(type.shape) / columns,
    declarations: Object.entries(joins)
      .map(([name, combine]) => groupJoin(name, combine, threads))
      .join("\n"),
    body: `  let base = group * P.columns;\n${body.replaceAll("THREADS", `${threads}u`)}`,
  });
}

/** A loop over the columns that a thread has; `j` is the column, `at` its element. */
const eachColumn = (statements: string): string =>
  `  for (var j = thread; j < P.columns; j += THREADS) { let at = base + j; ${statements} }`;

const use = (name: string, index: number, { dtype }: TensorType): BufferUse => ({
  name,
  memory: bufferAt(index),
  dtype,
  access: "read",
});
const result = (name: string, index: number, { dtype }: TensorType): BufferUse => ({
  name,
  memory: bufferAt(index),
  dtype,
  access: "write",
});

const sum = "a + b";
const top = `  var top = load_x(base);
${eachColumn("top = h_max(top, load_x(at));")}
  top = joined_max(thread, top);`;

/** y = exp(x - max) / sum, or its logarithm. Buffers: x, y. */
export function softmaxWgsl(x: TensorType, isLog: boolean): WgslKernel {
  const step = rowStep({
    buffers: [use("x", 0, x), result("y", 1, x)],
    type: x,
    joins: { max: "h_max(a, b)", sum },
    body: `${top}
  var total = 0.0;
${eachColumn("total += exp(load_x(at) - top);")}
  total = joined_sum(thread, total);
  ${isLog ? "let shift = top + log(total);" : ""}
${eachColumn(isLog ? "store_y(at, load_x(at) - shift);" : "store_y(at, exp(load_x(at) - top) / total);")}`,
  });
  return { steps: [step] };
}

/** dx = y (g - sum(g y)), or g - exp(y) sum(g) of the logarithm. Buffers: y, g, dx. */
export function softmaxGradWgsl(y: TensorType, isLog: boolean): WgslKernel {
  const step = rowStep({
    buffers: [use("y", 0, y), use("g", 1, y), result("dx", 2, y)],
    type: y,
    joins: { sum },
    body: `  var total = 0.0;
${eachColumn(isLog ? "total += load_g(at);" : "total += load_g(at) * load_y(at);")}
  total = joined_sum(thread, total);
${eachColumn(
  isLog
    ? "store_dx(at, load_g(at) - exp(load_y(at)) * total);"
    : "store_dx(at, load_y(at) * (load_g(at) - total));",
)}`,
  });
  return { steps: [step] };
}

/** y = x / sqrt(mean x^2 + eps) (weight + offset). Buffers: x, weight, y. */
export function rmsNormWgsl(x: TensorType, { eps, offset }: { eps: number; offset: number }): WgslKernel {
  const step = rowStep({
    buffers: [use("x", 0, x), use("weight", 1, x), result("y", 2, x)],
    type: x,
    joins: { sum },
    params: { eps: { f32: eps }, offset: { f32: offset } },
    body: `  var total = 0.0;
${eachColumn("let v = load_x(at); total += v * v;")}
  let r = inverseSqrt(joined_sum(thread, total) / f32(P.columns) + P.eps);
${eachColumn("store_y(at, load_x(at) * r * (load_weight(j) + P.offset));")}`,
  });
  return { steps: [step] };
}

/** Gradients of `rmsNormWgsl`. Buffers: x, weight, g, dx, dweight. */
export function rmsNormGradWgsl(x: TensorType, { eps, offset }: { eps: number; offset: number }): WgslKernel {
  const step = rowStep({
    buffers: [
      use("x", 0, x),
      use("weight", 1, x),
      use("g", 2, x),
      result("dx", 3, x),
      { name: "inverse", memory: scratchAt(0), dtype: "f32", access: "write" },
    ],
    type: x,
    joins: { sum },
    params: { eps: { f32: eps }, offset: { f32: offset } },
    body: `  var squares = 0.0;
  var along = 0.0;
${eachColumn("let v = load_x(at); squares += v * v; along += v * load_g(at) * (load_weight(j) + P.offset);")}
  let r = inverseSqrt(joined_sum(thread, squares) / f32(P.columns) + P.eps);
  along = joined_sum(thread, along) * r / f32(P.columns);
  if (thread == 0u) { inverse[group] = r; }
${eachColumn("store_dx(at, r * (load_g(at) * (load_weight(j) + P.offset) - load_x(at) * r * along));")}`,
  });
  const rows = rowsOf(x);
  return {
    steps: [step, columnSums(x, { index: 4, code: "g * x * inverse[row]", g: 2 })],
    scratch: [rows * 4],
  };
}

const rowsOf = ({ shape }: TensorType): number => Math.max(1, sizeOf(shape) / Math.max(1, shape.at(-1) ?? 1));

export interface LayerNormCall {
  readonly eps: number;
  readonly hasWeight: boolean;
  readonly hasBias: boolean;
}

const moments = `  var total = 0.0;
${eachColumn("total += load_x(at);")}
  let mean = joined_sum(thread, total) / f32(P.columns);
  var squares = 0.0;
${eachColumn("let c = load_x(at) - mean; squares += c * c;")}
  let r = inverseSqrt(joined_sum(thread, squares) / f32(P.columns) + P.eps);`;

/** y = (x - mean) / sqrt(variance + eps) weight + bias. Buffers: x, weight?, bias?, y. */
export function layerNormWgsl(x: TensorType, { eps, hasWeight, hasBias }: LayerNormCall): WgslKernel {
  const affine = [...(hasWeight ? ["weight"] : []), ...(hasBias ? ["bias"] : [])];
  const scale = hasWeight ? " * load_weight(j)" : "";
  const step = rowStep({
    buffers: [
      use("x", 0, x),
      ...affine.map((name, i) => use(name, 1 + i, x)),
      result("y", 1 + affine.length, x),
    ],
    type: x,
    joins: { sum },
    params: { eps: { f32: eps } },
    body: `${moments}
${eachColumn(`store_y(at, (load_x(at) - mean) * r${scale}${hasBias ? " + load_bias(j)" : ""});`)}`,
  });
  return { steps: [step] };
}

/** Gradients of `layerNormWgsl`. Buffers: x, weight?, g, dx, dweight?, dbias?. */
export function layerNormGradWgsl(x: TensorType, { eps, hasWeight, hasBias }: LayerNormCall): WgslKernel {
  const g = hasWeight ? 2 : 1;
  const u = hasWeight ? "load_g(at) * load_weight(j)" : "load_g(at)";
  const step = rowStep({
    buffers: [
      use("x", 0, x),
      ...(hasWeight ? [use("weight", 1, x)] : []),
      use("g", g, x),
      result("dx", g + 1, x),
      { name: "means", memory: scratchAt(0), dtype: "f32", access: "write" },
      { name: "inverse", memory: scratchAt(1), dtype: "f32", access: "write" },
    ],
    type: x,
    joins: { sum },
    params: { eps: { f32: eps } },
    body: `${moments}
  var plain = 0.0;
  var along = 0.0;
${eachColumn(`let u = ${u}; plain += u; along += u * (load_x(at) - mean) * r;`)}
  plain = joined_sum(thread, plain) / f32(P.columns);
  along = joined_sum(thread, along) / f32(P.columns);
  if (thread == 0u) { means[group] = mean; inverse[group] = r; }
${eachColumn(`store_dx(at, r * (${u} - plain - (load_x(at) - mean) * r * along));`)}`,
  });
  const outputs = [
    ...(hasWeight ? [{ index: g + 2, code: "g * (x - means[row]) * inverse[row]" }] : []),
    ...(hasBias ? [{ index: g + 2 + (hasWeight ? 1 : 0), code: "g" }] : []),
  ];
  const sums = outputs.map((output) => columnSums(x, { ...output, g, hasMeans: true }));
  return { steps: [step, ...sums], scratch: [rowsOf(x) * 4, rowsOf(x) * 4] };
}

/**
 * Sums over the rows: 64 threads share a column, so that their order is that of the shape. `code` says what is added, of `x`,
 * `g` and the scratch `inverse` and `means` of the row.
 */
function columnSums(
  x: TensorType,
  call: {
    /** The output's place among the launch's buffers. */
    readonly index: number;
    readonly code: string;
    readonly g: number;
    readonly hasMeans?: boolean;
  },
): WgslStep {
  const { index, code, g, hasMeans = false } = call;
  const columns = x.shape.at(-1) ?? 1;
  const scratch = [...(hasMeans ? ["means"] : []), "inverse"].filter((name) => code.includes(name));
  const readsX = /\bx\b/.test(code);
  return wgslStep({
    buffers: [
      ...(readsX ? [use("rows", 0, x)] : []),
      use("grads", g, x),
      ...scratch.map(
        (name): BufferUse => ({
          name,
          memory: scratchAt(hasMeans && name === "inverse" ? 1 : 0),
          dtype: "f32",
          access: "read",
        }),
      ),
      result("y", index, x),
    ],
    params: { rows: rowsOf(x), columns },
    threads: 256,
    groups: Math.ceil(columns / 16),
    declarations: "var<workgroup> parts: array<f32, 256>;",
    body: `  let column = group * 16u + thread % 16u;
  let lane = thread / 16u;
  let inside = min(column, P.columns - 1u);
  var sum = 0.0;
  for (var row = lane; row < P.rows; row += 16u) {
    let at = row * P.columns + inside;
    ${readsX ? "let x = load_rows(at);" : ""}
    let g = load_grads(at);
    sum += ${code};
  }
  parts[thread] = sum;
  for (var half = 8u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { parts[thread] += parts[thread + half * 16u]; }
  }
  if (lane == 0u && column < P.columns) { store_y(column, parts[thread]); }`,
  });
}
