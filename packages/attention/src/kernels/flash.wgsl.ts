import type { TensorType } from "@heddle/tensor";
import { type BufferUse, bufferAt, type StepParam } from "@heddle/tensor/kernel";
import { type FlashParams, type FlashShape, flashInputs } from "../flash-params.js";
import { maskBuffers, seesFunction } from "./mask.wgsl.js";

/** Threads of a workgroup. */
export const threads = 128;

/** Buffers that decide the scores: mask tensors, biases, sinks; whichever are there. */
export function ruleBuffers(inputs: readonly TensorType[], params: FlashParams): BufferUse[] {
  const at = flashInputs(params);
  const floats = [
    { name: "bias", index: at.bias },
    { name: "distanceBias", index: at.distanceBias },
    { name: "sinks", index: at.sinks },
  ].flatMap(({ name, index }) => (index === undefined ? [] : [readBuffer(name, index)]));
  return [...maskBuffers(inputs, at.mask), ...floats];
}

export function readBuffer(name: string, index: number): BufferUse {
  return { name, memory: bufferAt(index), dtype: "f32", access: "read" };
}

export function writeBuffer(name: string, index: number): BufferUse {
  return { name, memory: bufferAt(index), dtype: "f32", access: "write" };
}

/** Uniforms that the functions below read. */
export function flashUniforms(
  { batch, numHeads, numKvHeads, queryLen, keyLen }: FlashShape,
  params: FlashParams,
  inputs: readonly TensorType[],
): Readonly<Record<string, StepParam>> {
  const at = flashInputs(params);
  const shapeOf = (index: number | undefined) => (index === undefined ? [] : (inputs[index]?.shape ?? []));
  const [biasBatch = 1, biasHeads = 1] = shapeOf(at.bias);
  const [distanceHeads = 1] = shapeOf(at.distanceBias);
  return {
    batch,
    numHeads,
    group: numHeads / numKvHeads,
    queryLen,
    keyLen,
    scale: { f32: params.scale },
    softcap: { f32: params.softcap ?? 0 },
    biasBatch: biasBatch === 1 ? 0 : biasHeads,
    biasHead: biasHeads === 1 ? 0 : 1,
    distances: distanceHeads === 1 ? 0 : queryLen + keyLen - 1,
  };
}

/**
 * Functions of a pair: `isSeen`, `score` (scale, soft cap and bias) and `slope`, the soft cap's derivative. Positions: query i
 * stands at i + keyLen - queryLen.
 */
export function ruleFunctions(params: FlashParams): string {
  const capped = params.softcap === undefined ? "scaled" : "P.softcap * h_tanh(scaled / P.softcap)";
  // Tiles reach beyond the last query and key.
  const [row, column] = ["min(i, P.queryLen - 1u)", "min(j, P.keyLen - 1u)"];
  const biasAt = `((b * P.biasBatch + h * P.biasHead) * P.queryLen + ${row}) * P.keyLen + ${column}`;
  const biased = [
    "capped",
    ...(params.hasBias ? [`load_bias(${biasAt})`] : []),
    ...(params.hasDistanceBias === true
      ? [`load_distanceBias(h * P.distances + ${row} + P.keyLen - 1u - ${column})`]
      : []),
  ].join(" + ");
  return `${seesFunction(params.mask)}
fn isSeen(b: u32, h: u32, i: u32, j: u32) -> bool {
  if (i >= P.queryLen || j >= P.keyLen) { return false; }
  return sees(b, h, i, j, i32(P.keyLen) - i32(P.queryLen));
}
fn score(b: u32, h: u32, i: u32, j: u32, product: f32) -> f32 {
  let scaled = product * P.scale;
  let capped = ${capped};
  return ${biased};
}
fn slope(product: f32) -> f32 {
  ${params.softcap === undefined ? "return 1.0;" : "let t = h_tanh(product * P.scale / P.softcap);\n  return 1.0 - t * t;"}
}`;
}

/** Vectors of four that hold a row of `width` elements. */
export const vectorsOf = (width: number): number => Math.ceil(width / 4);

/** An f32 buffer of rows of `width` elements, read as whole vectors of four where they fit. */
export function vectorBuffer(name: string, index: number, width: number): BufferUse {
  const buffer = readBuffer(name, index);
  return width % 4 === 0 ? { ...buffer, element: "vec4f" } : buffer;
}

/**
 * Copies rows of a `vectorBuffer` into an array of vectors in workgroup memory, `stride` vectors a row; rows behind the last and
 * features behind the last become zeros.
 */
export function loadVectors(copy: {
  readonly target: string;
  readonly source: string;
  readonly rows: number;
  readonly width: number;
  readonly stride: number;
  /** First row, and the number of rows that there are. */
  readonly first: string;
  readonly limit: string;
  /** Row 0 in the buffer. */
  readonly base: string;
}): string {
  const { target, source, rows, width, stride, first, limit, base } = copy;
  const perRow = vectorsOf(width);
  const elements = [0, 1, 2, 3].map((lane) => {
    const at = `at * ${width}u + c * 4u + ${lane}u`;
    return `if (c * 4u + ${lane}u < ${width}u) { x[${lane}] = load_${source}(${at}); }`;
  });
  const load = width % 4 === 0 ? `x = ${source}[at * ${perRow}u + c];` : elements.join(" ");
  return `    for (var e = thread; e < ${rows * perRow}u; e += ${threads}u) {
      let row = ${first} + e / ${perRow}u;
      let c = e % ${perRow}u;
      var x = vec4f();
      if (row < ${limit}) { let at = ${base} + row; ${load} }
      ${target}[e / ${perRow}u * ${stride}u + c] = x;
    }`;
}
