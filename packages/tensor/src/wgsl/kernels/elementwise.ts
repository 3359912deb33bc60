import { invariant } from "../../error.js";
import type { Expression } from "../../expression.js";
import { broadcastStrides, type Shape, sizeOf, type TensorType } from "../../shape.js";
import { decodeBits, encodeBits, lanesOf, valueType } from "../dtype.js";
import { expressionCode, neededInputs } from "../expression.js";
import type { WgslFeatures, WgslKernel, WgslMemory, WgslStep } from "../kernel.js";
import { type BufferUse, bufferAt, scratchAt, wgslStep } from "../step.js";
import { offsetCode } from "../strides.js";

/** One fused elementwise kernel: which tensors it reads and writes, and which of them are the same memory. */
export interface ElementwiseCall {
  readonly inputs: readonly TensorType[];
  readonly outputs: readonly TensorType[];
  /** For each input the output that overwrites its memory, where one does. */
  readonly overwrittenBy?: readonly (number | undefined)[];
}

/**
 * One pass over memory for an expression of any length; a thread computes as many neighbours as fill a word of the narrowest
 * output. Twin: `evaluateElementwise`.
 *
 * Outputs that need more buffers than a step may use are spread over several steps, which compute what they share anew.
 */
export function elementwiseWgsl(
  expression: Expression,
  call: ElementwiseCall,
  features: WgslFeatures,
): WgslKernel {
  const groups = spreadOutputs(expression, call, features);
  if (groups.length === 1)
    return { steps: [elementwiseStep(expression, call, { outputs: call.outputs.map((_, i) => i) })] };
  // A later step may read what an earlier one overwrites: all of them write aside first.
  const scratch: number[] = [];
  const steps: WgslStep[] = [];
  const copies: WgslStep[] = [];
  for (const outputs of groups) {
    const aside = new Map<number, WgslMemory>();
    for (const output of outputs) {
      const type = call.outputs[output];
      if (type === undefined || !call.overwrittenBy?.includes(output)) continue;
      scratch.push(Math.ceil(sizeOf(type.shape) / lanesOf(type.dtype)) * 4);
      const memory = scratchAt(scratch.length - 1);
      aside.set(output, memory);
      copies.push(wordCopy(memory, bufferAt(call.inputs.length + output), scratch.at(-1) ?? 0));
    }
    const { overwrittenBy: _, ...apart } = call;
    steps.push(elementwiseStep(expression, apart, { outputs, aside }));
  }
  return { steps: [...steps, ...copies], scratch };
}

/** Puts outputs together as long as their buffers fit. */
function spreadOutputs(
  expression: Expression,
  call: ElementwiseCall,
  { maxBuffers }: WgslFeatures,
): number[][] {
  const buffersOf = (outputs: readonly number[], isWhole: boolean) => {
    const read = neededInputs({ ...expression, outputs: outputs.map((i) => expression.outputs[i] ?? 0) });
    const shared = [...read].filter((i) => isWhole && call.overwrittenBy?.[i] !== undefined).length;
    return read.size - shared + outputs.length;
  };
  const all = call.outputs.map((_, i) => i);
  if (buffersOf(all, true) <= maxBuffers) return [all];
  const groups: number[][] = [];
  for (const output of all) {
    const last = groups.at(-1);
    if (last && buffersOf([...last, output], false) <= maxBuffers) last.push(output);
    else groups.push([output]);
  }
  for (const group of groups)
    invariant(
      buffersOf(group, false) <= maxBuffers,
      "one elementwise output needs more buffers than the adapter binds",
    );
  return groups;
}

interface Part {
  readonly outputs: readonly number[];
  /** Where an output goes instead of its own buffer. */
  readonly aside?: ReadonlyMap<number, WgslMemory>;
}

function elementwiseStep(expression: Expression, call: ElementwiseCall, { outputs, aside }: Part): WgslStep {
  const part = { ...expression, outputs: outputs.map((i) => expression.outputs[i] ?? 0) };
  const shape: Shape = call.outputs[outputs[0] ?? 0]?.shape ?? [];
  const size = sizeOf(shape);
  const read = [...neededInputs(part)].sort((a, b) => a - b);
  const nameOf = (input: number) => {
    const output = call.overwrittenBy?.[input];
    return output !== undefined && outputs.includes(output) ? `y${output}` : `x${input}`;
  };
  const types = outputs.map((i) => call.outputs[i] ?? { shape, dtype: "f32" as const });
  const inputs = read.map((index) => ({
    index,
    name: nameOf(index),
    type: call.inputs[index] ?? { shape, dtype: "f32" as const },
  }));
  const memoryOf = (output: number) => aside?.get(output) ?? bufferAt(call.inputs.length + output);
  const results = outputs.map((output, k) => ({
    name: `y${output}`,
    type: types[k] ?? { shape, dtype: "f32" as const },
    memory: memoryOf(output),
  }));
  const vector = vectorWidth(inputs, results);
  if (vector !== undefined)
    return vectorStep(part, { inputs, results, vector, numInputs: call.inputs.length });
  const width = Math.max(...types.map(({ dtype }) => lanesOf(dtype)));
  const walk = offsetCode(
    { shape, strides: read.map((i) => broadcastStrides(call.inputs[i]?.shape ?? [], shape)) },
    "i",
    "w",
  );
  const elements = call.inputs.map((_, input) => {
    const at = read.indexOf(input);
    return at < 0 ? "" : `load_${nameOf(input)}(${walk.offsets[at]})`;
  });
  const body = expressionCode(part, elements, "e");
  const buffers: BufferUse[] = [
    ...read.flatMap((input): BufferUse[] => {
      const name = nameOf(input);
      if (name.startsWith("y")) return [];
      return [{ name, memory: bufferAt(input), dtype: call.inputs[input]?.dtype ?? "f32", access: "read" }];
    }),
    ...outputs.map((output, k): BufferUse => {
      const memory = aside?.get(output) ?? bufferAt(call.inputs.length + output);
      return { name: `y${output}`, memory, dtype: types[k]?.dtype ?? "f32", access: "words" };
    }),
  ];
  const fields = types.map(({ dtype }, k) => `  v${k}: ${valueType(dtype)},`).join("\n");
  return wgslStep({
    buffers,
    params: { size, ...walk.params, ...body.params },
    groups: Math.ceil(size / (256 * width)),
    declarations: `struct Values {\n${fields}\n}
fn valuesAt(i: u32) -> Values {
${walk.code}
${body.code}
  return Values(${body.outputs.join(", ")});
}`,
    body: `  let i = (group * 256u + thread) * ${width}u;
  if (i >= P.size) { return; }
${range(width)
  .map((lane) => `  let r${lane} = valuesAt(${lane === 0 ? "i" : `min(i + ${lane}u, P.size - 1u)`});`)
  .join("\n")}
${outputs.map((output, k) => storeCode(`y${output}`, types[k] ?? { shape, dtype: "f32" }, { width, field: `v${k}` })).join("\n")}`,
  });
}

/** A tensor of a step: inputs that an output overwrites have its name. */
interface Operand {
  readonly name: string;
  readonly type: TensorType;
}

/** Neighbours that a thread takes where all tensors are floats of one shape and hold whole vectors of them: 16 bytes of each, or more. */
function vectorWidth(inputs: readonly Operand[], results: readonly Operand[]): number | undefined {
  const all = [...inputs, ...results].map(({ type }) => type);
  const shape = all.at(-1)?.shape ?? [];
  const areFloats = all.every(({ dtype }) => dtype === "f32" || dtype === "f16" || dtype === "bf16");
  const areEqual = all.every((type) => type.shape.join() === shape.join());
  const width = 4 * Math.max(...all.map(({ dtype }) => lanesOf(dtype)));
  return areFloats && areEqual && inputs.length > 0 && sizeOf(shape) % width === 0 ? width : undefined;
}

/** One pass in which each thread reads and writes whole vectors of words. */
function vectorStep(
  expression: Expression,
  {
    inputs,
    results,
    vector,
    numInputs,
  }: {
    readonly inputs: readonly (Operand & { readonly index: number })[];
    readonly results: readonly (Operand & { readonly memory: WgslMemory })[];
    readonly vector: number;
    readonly numInputs: number;
  },
): WgslStep {
  const elements = Array.from({ length: numInputs }, (_, input) =>
    inputs.some(({ index }) => index === input) ? `a${input}` : "",
  );
  const body = expressionCode(expression, elements, "e");
  const vectorsOf = ({ dtype }: TensorType) => vector / lanesOf(dtype) / 4;
  const lane = ({ dtype }: TensorType, name: string, i: number) => {
    const lanes = lanesOf(dtype);
    const word = Math.floor(i / lanes);
    const bits = `${name}_${Math.floor(word / 4)}.${"xyzw"[word % 4]}`;
    return decodeBits(dtype, lanes === 1 ? bits : `(${bits} >> ${(i % lanes) * 16}u)`);
  };
  const fields = results.map(({ type }, k) => `  v${k}: ${valueType(type.dtype)},`).join("\n");
  const stored = ({ name, type }: Operand, k: number, v: number) => {
    const lanes = lanesOf(type.dtype);
    const words = range(4).map((w) =>
      range(lanes)
        .map((l) => `(${encodeBits(type.dtype, `r${(v * 4 + w) * lanes + l}.v${k}`)} << ${l * 16}u)`)
        .join(" | "),
    );
    return `  ${name}[i * ${vectorsOf(type)}u + ${v}u] = vec4u(${words.join(", ")});`;
  };
  return wgslStep({
    buffers: [
      ...inputs.flatMap(({ index, name, type }): BufferUse[] =>
        results.some((result) => result.name === name)
          ? []
          : [{ name, memory: bufferAt(index), dtype: type.dtype, access: "read", element: "vec4u" }],
      ),
      ...results.map(
        ({ name, type, memory }): BufferUse => ({
          name,
          memory,
          dtype: type.dtype,
          access: "words",
          element: "vec4u",
        }),
      ),
    ],
    params: { vectors: sizeOf(results[0]?.type.shape ?? []) / vector, ...body.params },
    groups: Math.ceil(sizeOf(results[0]?.type.shape ?? []) / (256 * vector)),
    declarations: `struct Values {\n${fields}\n}
fn valuesOf(${inputs.map(({ index, type }) => `a${index}: ${valueType(type.dtype)}`).join(", ")}) -> Values {
${body.code}
  return Values(${body.outputs.join(", ")});
}`,
    body: `  let i = group * 256u + thread;
  if (i >= P.vectors) { return; }
${inputs
  .map(({ index, name, type }) =>
    range(vectorsOf(type))
      .map((v) => `  let w${index}_${v} = ${name}[i * ${vectorsOf(type)}u + ${v}u];`)
      .join("\n"),
  )
  .join("\n")}
${range(vector)
  .map(
    (n) =>
      `  let r${n} = valuesOf(${inputs.map(({ index, type }) => lane(type, `w${index}`, n)).join(", ")});`,
  )
  .join("\n")}
${results
  .map((result, k) =>
    range(vectorsOf(result.type))
      .map((v) => stored(result, k, v))
      .join("\n"),
  )
  .join("\n")}`,
  });
}

const range = (count: number) => Array.from({ length: count }, (_, i) => i);

/** Stores the values of `width` neighbours, whole words at a time. */
function storeCode(
  name: string,
  { dtype }: TensorType,
  { width, field }: { width: number; field: string },
): string {
  const lanes = lanesOf(dtype);
  const words = width / lanes;
  return range(words)
    .map((word) => {
      const parts = range(lanes).map((lane) => `r${word * lanes + lane}.${field}`);
      const value =
        lanes === 1
          ? (parts[0] ?? "")
          : parts.map((part, lane) => `(${encodeBits(dtype, part)} << ${(lane * 32) / lanes}u)`).join(" | ");
      const at = lanes === 1 ? `i + ${word}u` : `i / ${lanes}u + ${word}u`;
      const guard = word === 0 ? "" : `if (i + ${word * lanes}u < P.size) `;
      return `  ${guard}{ ${name}[${at}] = ${value}; }`;
    })
    .join("\n");
}

/** Copies whole words from one buffer to another. */
export function wordCopy(from: WgslMemory, to: WgslMemory, byteLength: number): WgslStep {
  const size = Math.ceil(byteLength / 4);
  return wgslStep({
    buffers: [
      { name: "x", memory: from, dtype: "u32", access: "read" },
      { name: "y", memory: to, dtype: "u32", access: "write" },
    ],
    params: { size },
    groups: Math.ceil(size / 256),
    body: "  let i = group * 256u + thread;\n  if (i < P.size) { y[i] = x[i]; }",
  });
}
