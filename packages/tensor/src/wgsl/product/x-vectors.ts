import type { DType } from "../../dtype.js";
import { type BufferUse, bufferAt, type StepParam } from "../step.js";
import { widened } from "./dense.js";
import type { NormPiece } from "./piece.js";

interface Operand {
  readonly index: number;
  readonly dtype: DType;
}

/** How products read x [rows, columns]. */
export interface XCall {
  readonly x: Operand;
  readonly width: 4 | 8;
  /** Rows of a workgroup, from `rowBase` on, and of all. */
  readonly rows: number;
  readonly allRows: number;
  readonly columns: number;
  readonly threads: number;
  readonly norm:
    | (Omit<NormPiece, "weight" | "bias"> & {
        readonly weight: Operand | undefined;
        readonly bias: Operand | undefined;
      })
    | undefined;
}

export interface XText {
  readonly buffers: readonly BufferUse[];
  readonly params: Readonly<Record<string, StepParam>>;
  readonly declarations: string;
  readonly prologue: string;
}

/** Writes `x_at` and, for "rms", `gain_at`; the statistics of "layer" are gathered in a prologue by the whole workgroup. */
export function xFunctions({ x, width, rows, allRows, columns, threads, norm }: XCall): XText | undefined {
  const vector = width === 8 ? "Eight" : "vec4f";
  const perRow = columns / width;
  if (!Number.isInteger(perRow)) return undefined;
  const row = rows === allRows ? "m" : `min(rowBase + m, ${allRows - 1}u)`;
  const raw = reader("raw", x, { width, at: `${row} * ${perRow}u + c`, head: "m: u32, c: u32" });
  if (raw === undefined) return undefined;
  const buffers = [raw.buffer];
  const texts = [width === 8 ? "struct Eight { low: vec4f, high: vec4f };" : "", raw.text];
  const params: Record<string, StepParam> = {};
  if (norm === undefined) {
    texts.push(`fn x_at(m: u32, c: u32) -> ${vector} { return raw_at(m, c); }`);
    return { buffers, params, declarations: texts.join("\n"), prologue: "" };
  }
  Object.assign(params, { eps: { f32: norm.eps }, offset: { f32: norm.offset } });
  for (const [name, operand] of [
    ["gain", norm.weight],
    ["shift", norm.bias],
  ] as const) {
    if (operand === undefined) continue;
    const read = reader(name === "gain" && norm.offset !== 0 ? "gainRaw" : name, operand, {
      width,
      at: "c",
      head: "c: u32",
    });
    if (read === undefined) return undefined;
    buffers.push(read.buffer);
    texts.push(read.text);
  }
  if (norm.weight !== undefined && norm.offset !== 0) {
    const shifted = width === 8 ? "Eight(g.low + P.offset, g.high + P.offset)" : "g + P.offset";
    texts.push(`fn gain_at(c: u32) -> ${vector} { let g = gainRaw_at(c); return ${shifted}; }`);
  }
  if (norm.kind === "rms") {
    if (norm.weight === undefined) return undefined;
    texts.push(`fn x_at(m: u32, c: u32) -> ${vector} { return raw_at(m, c); }`);
    return { buffers, params, declarations: texts.join("\n"), prologue: "" };
  }
  const parts = width === 8 ? [".low", ".high"] : [""];
  const each = parts.map((part) => {
    const gained = norm.weight === undefined ? "" : ` * gain_at(c)${part}`;
    const shifted = norm.bias === undefined ? "" : ` + shift_at(c)${part}`;
    return `(v${part} - rowMeans[m]) * rowScales[m]${gained}${shifted}`;
  });
  texts.push(`var<workgroup> rowMeans: array<f32, ${rows}>;
var<workgroup> rowScales: array<f32, ${rows}>;
fn x_at(m: u32, c: u32) -> ${vector} {
  let v = raw_at(m, c);
  return ${width === 8 ? `Eight(${each.join(", ")})` : each[0]};
}`);
  const sumOf = (value: (part: string) => string) =>
    parts.map((part) => `dot(${value(part)}, vec4f(1.0))`).join(" + ");
  const loop = (statement: string) =>
    `    for (var c = thread; c < ${perRow}u; c += ${threads}u) { let v = raw_at(m, c); ${statement} }`;
  const prologue = `  for (var m = 0u; m < ${rows}u; m++) {
    var total = 0.0;
${loop(`total += ${sumOf((part) => `v${part}`)};`)}
    let mean = joined_sum(thread, total) / P.columns;
    var squares = 0.0;
${loop(`squares += ${parts.map((part) => `dot(v${part} - mean, v${part} - mean)`).join(" + ")};`)}
    let scale = inverseSqrt(joined_sum(thread, squares) / P.columns + P.eps);
    if (thread == 0u) { rowMeans[m] = mean; rowScales[m] = scale; }
  }
  workgroupBarrier();`;
  return { buffers, params, declarations: texts.join("\n"), prologue };
}

/** Reads a vector of 4 or 8 floats of a tensor as f32. */
function reader(
  name: string,
  { index, dtype }: Operand,
  { width, at, head }: { readonly width: 4 | 8; readonly at: string; readonly head: string },
): { readonly buffer: BufferUse; readonly text: string } | undefined {
  if (dtype !== "f32" && dtype !== "f16" && dtype !== "bf16") return undefined;
  const vector = width === 8 ? "Eight" : "vec4f";
  const isWide = dtype === "f32";
  const element = isWide ? "vec4f" : width === 8 ? "vec4u" : "vec2u";
  const value = isWide
    ? width === 8
      ? `Eight(${name}[2u * i], ${name}[2u * i + 1u])`
      : `${name}[i]`
    : width === 8
      ? `Eight(${widened(dtype, "words", ["x", "y"])}, ${widened(dtype, "words", ["z", "w"])})`
      : widened(dtype, "words", ["x", "y"]);
  const words = isWide ? "" : ` let words = ${name}[i];`;
  return {
    buffer: { name, memory: bufferAt(index), dtype, access: "read", element },
    text: `fn ${name}_at(${head}) -> ${vector} { let i = ${at};${words} return ${value}; }`,
  };
}
