import { byteWidth, type DType, isFloat } from "../../dtype.js";
import type { Copies, CopyRegion } from "../../op-forms.js";
import { sizeOf, stridesOf } from "../../shape.js";
import { encodeBits, lanesOf, literal } from "../dtype.js";
import type { WgslKernel, WgslMemory, WgslStep } from "../kernel.js";
import { bufferAt, wgslStep } from "../step.js";
import { offsetCode } from "../strides.js";
import { vectorLanes } from "../vectors.js";

/** Unsigned dtype of the same width: copies move bits. */
function bitsDType(dtype: DType): "u32" | "f16" | "u8" {
  const width = byteWidth(dtype);
  return width === 4 ? "u32" : width === 2 ? "f16" : "u8";
}

export interface CopyTarget {
  readonly dtype: DType;
  readonly memory: WgslMemory;
  readonly elements: number;
}

/** Data movement: fills the output where asked, then copies strided boxes, 16 bytes at a time where they allow. Twin: `evaluateCopies`. */
export function copyWgsl(copies: Copies, output: CopyTarget): WgslKernel {
  const steps = copies.fill === undefined ? [] : [fillStep(output, copies.fill)];
  for (const region of copies.regions) {
    if (sizeOf(region.shape) === 0) continue;
    const vectors = regionOfVectors(region, vectorLanes(output.dtype));
    if (vectors !== undefined) {
      steps.push(copyVectors(vectors, output));
      continue;
    }
    steps.push(
      isWhole(region, output) && byteWidth(output.dtype) < 4
        ? gatherWords(region, output)
        : copyRegion(region, output),
    );
  }
  return { steps };
}

/** The same box in vectors of 16 bytes, if runs of the last axis are such and lie at whole ones on both sides. */
function regionOfVectors(region: CopyRegion, lanes: number): CopyRegion | undefined {
  const { shape, inputOffset, inputStrides, outputOffset, outputStrides } = region;
  const last = shape.length - 1;
  const isDense = last >= 0 && inputStrides[last] === 1 && outputStrides[last] === 1;
  const moves = [inputStrides, outputStrides].flatMap((strides) =>
    strides.filter((_, axis) => axis !== last && shape[axis] !== 1),
  );
  const lengths = [shape[last] ?? 1, inputOffset, outputOffset, ...moves];
  if (!isDense || lengths.some((length) => length % lanes !== 0)) return undefined;
  const inVectors = (lengths: readonly number[]) =>
    lengths.map((length, axis) => (axis === last || shape[axis] === 1 ? 1 : length / lanes));
  return {
    ...region,
    shape: shape.map((extent, axis) => (axis === last ? extent / lanes : extent)),
    inputOffset: inputOffset / lanes,
    inputStrides: inVectors(inputStrides),
    outputOffset: outputOffset / lanes,
    outputStrides: inVectors(outputStrides),
  };
}

/** One thread for each vector of the box. */
function copyVectors(region: CopyRegion, { memory }: CopyTarget): WgslStep {
  const size = sizeOf(region.shape);
  const strides = [region.inputStrides, region.outputStrides];
  const walk = offsetCode({ shape: region.shape, strides }, "i", "w");
  const [from, to] = walk.offsets;
  return wgslStep({
    buffers: [
      { name: "x", memory: bufferAt(region.input), dtype: "u32", access: "read", element: "vec4u" },
      { name: "y", memory, dtype: "u32", access: "words", element: "vec4u" },
    ],
    params: { size, origin: region.inputOffset, goal: region.outputOffset, ...walk.params },
    groups: Math.ceil(size / 256),
    body: `  let i = group * 256u + thread;
  if (i >= P.size) { return; }
${walk.code}
  y[P.goal + ${to}] = x[P.origin + ${from}];`,
  });
}

function isWhole({ shape, outputOffset, outputStrides }: CopyRegion, { elements }: CopyTarget): boolean {
  const strides = stridesOf(shape);
  return (
    outputOffset === 0 &&
    sizeOf(shape) === elements &&
    shape.every((extent, axis) => extent === 1 || outputStrides[axis] === strides[axis])
  );
}

/** The word that repeats one value in all of its lanes. */
function fillStep({ dtype, memory, elements }: CopyTarget, fill: number): WgslStep {
  const lanes = lanesOf(dtype);
  const value = `(${encodeBits(dtype, literal(dtype, isFloat(dtype) ? fill : Math.trunc(fill)))})`;
  const word = Array.from({ length: lanes }, (_, lane) => `(bits << ${(lane * 32) / lanes}u)`).join(" | ");
  const words = Math.ceil(elements / lanes);
  return wgslStep({
    buffers: [{ name: "y", memory, dtype: "u32", access: "write" }],
    params: { words },
    groups: Math.ceil(words / 256),
    body: `  let i = group * 256u + thread;
  let bits = ${value};
  if (i < P.words) { y[i] = ${word}; }`,
  });
}

/** One thread for each element of the box. */
function copyRegion(region: CopyRegion, { dtype, memory }: CopyTarget): WgslStep {
  const size = sizeOf(region.shape);
  const walk = offsetCode(
    { shape: region.shape, strides: [region.inputStrides, region.outputStrides] },
    "i",
    "w",
  );
  const [from, to] = walk.offsets;
  const bits = bitsDType(dtype);
  const value = bits === "f16" ? rawHalf(`P.origin + ${from}`) : `load_x(P.origin + ${from})`;
  return wgslStep({
    buffers: [
      { name: "x", memory: bufferAt(region.input), dtype: bits, access: "read" },
      { name: "y", memory, dtype: bits, access: "write" },
    ],
    params: { size, origin: region.inputOffset, goal: region.outputOffset, ...walk.params },
    groups: Math.ceil(size / 256),
    declarations: bits === "f16" ? storeRawHalf : "",
    body: `  let i = group * 256u + thread;
  if (i >= P.size) { return; }
${walk.code}
  ${bits === "f16" ? "storeRaw" : "store_y"}(P.goal + ${to}, ${value});`,
  });
}

const rawHalf = (at: string) => `((x[(${at}) >> 1u] >> (((${at}) & 1u) * 16u)) & 0xffffu)`;

const storeRawHalf = `fn storeRaw(i: u32, bits: u32) {
  let shift = (i & 1u) * 16u;
  atomicAnd(&y[i >> 1u], ~(0xffffu << shift));
  atomicOr(&y[i >> 1u], bits << shift);
}`;

/** A packed output that one box covers: each thread gathers the lanes of one word. */
function gatherWords(region: CopyRegion, { dtype, memory, elements }: CopyTarget): WgslStep {
  const lanes = lanesOf(dtype);
  const walk = offsetCode({ shape: region.shape, strides: [region.inputStrides] }, "i", "w");
  const words = Math.ceil(elements / lanes);
  const bits = 32 / lanes;
  const shift = lanes === 2 ? 1 : 2;
  return wgslStep({
    buffers: [
      { name: "x", memory: bufferAt(region.input), dtype: "u32", access: "read" },
      { name: "y", memory, dtype: "u32", access: "write" },
    ],
    params: { words, size: elements, origin: region.inputOffset, ...walk.params },
    groups: Math.ceil(words / 256),
    declarations: `fn bitsAt(i: u32) -> u32 {
${walk.code}
  let at = P.origin + ${walk.offsets[0]};
  return (x[at >> ${shift}u] >> ((at & ${lanes - 1}u) * ${bits}u)) & ${lanes === 2 ? "0xffffu" : "0xffu"};
}`,
    body: `  let word = group * 256u + thread;
  if (word >= P.words) { return; }
  let i = word * ${lanes}u;
  y[word] = ${Array.from({ length: lanes }, (_, lane) => `(bitsAt(min(i + ${lane}u, P.size - 1u)) << ${lane * bits}u)`).join(" | ")};`,
  });
}
