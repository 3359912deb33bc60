import { HeddleError, type Shape, sizeOf } from "@heddle/tensor";
import { bufferAt, type WgslStep } from "@heddle/tensor/kernel";
import type { GpuJsModule, GpuJsTranslator } from "./module.js";

/** A kernel's source and how gpu.js shall read it. */
export interface KernelSource {
  readonly name: string;
  readonly source: string;
  readonly settings: Readonly<Record<string, unknown>>;
  /** For each argument whether it is a tensor (or a number). */
  readonly isTensor: readonly boolean[];
}

/** [x, y, z] of a shape whose last axis is x. */
export function gpuJsSize(shape: Shape): [number, number, number] {
  const [x = 1, y = 1, z = 1] = [...shape].reverse();
  return [x, y, z];
}

/** The kernel in WGSL, as gpu.js writes it for results of `rank` axes. */
export function translateKernel(
  { WebGPUKernel }: GpuJsModule,
  kernel: KernelSource,
  rank: number,
): GpuJsTranslator {
  const output = new Array<number>(rank).fill(1);
  const translator = new WebGPUKernel(kernel.source, { ...kernel.settings, output });
  // All that needs a device comes after the text is written.
  translator._buildAsync = () => Promise.resolve();
  try {
    translator.build(
      ...kernel.isTensor.map((isTensor) => (isTensor ? { type: "WebGPUBuffer", output: [1, 1, 1] } : 0.5)),
    );
  } catch (cause) {
    throw new HeddleError(
      "config",
      `defineKernel("${kernel.name}"): gpu.js must be able to translate the source; got ${cause instanceof Error ? cause.message : cause}. Write it with numbers, arrays, Math and plain loops.`,
      { name: kernel.name },
      cause,
    );
  }
  const { componentCount, paramsLayout } = translator;
  if (
    componentCount !== 1 ||
    paramsLayout.bufferConstants.length > 0 ||
    paramsLayout.randomSeedOffset !== null
  ) {
    const what =
      componentCount !== 1
        ? "several numbers"
        : paramsLayout.randomSeedOffset !== null
          ? "Math.random()"
          : "an array among its constants";
    throw new HeddleError(
      "unsupported",
      `defineKernel("${kernel.name}"): a kernel returns one number, and arrays and random numbers are arguments; got ${what}. Pass tensors instead.`,
      { name: kernel.name },
    );
  }
  return translator;
}

export interface KernelRun {
  readonly shapes: readonly Shape[];
  readonly output: Shape;
  readonly numbers: readonly number[];
}

/** One dispatch of a translated kernel: gpu.js's bindings in Heddle's order, its uniforms filled. */
export function kernelStep(
  translator: GpuJsTranslator,
  { isTensor }: KernelSource,
  run: KernelRun,
): WgslStep {
  const { arrayArgs, scalarArgs, byteLength } = translator.paramsLayout;
  const words = new Uint32Array(byteLength / 4);
  const floats = new Float32Array(words.buffer);
  const size = gpuJsSize(run.output);
  const grid = gridOf(translator, size, run.output.length);
  words.set([...size, grid.width]);
  const tensorAt = (argument: number) => isTensor.slice(0, argument).filter(Boolean).length;
  for (const { index, dimsOffset } of arrayArgs) {
    const shape = run.shapes[tensorAt(index)] ?? [];
    words.set([...gpuJsSize(shape), sizeOf(shape)], dimsOffset / 4);
  }
  for (const { index, offset, type } of scalarArgs) {
    const value = run.numbers[index - tensorAt(index)] ?? 0;
    if (type === "Integer") words[offset / 4] = value >>> 0;
    else floats[offset / 4] = value;
  }
  const tensors = arrayArgs.length;
  return {
    // gpu.js binds its uniforms first, Heddle last.
    code: translator.compiledSource.replace(/@group\(0\) @binding\((\d+)\)/g, (_, digits: string) => {
      const binding = Number(digits);
      return `@group(0) @binding(${binding === 0 ? tensors + 1 : binding - 1})`;
    }),
    bindings: [
      ...arrayArgs.map(({ index }) => ({ memory: bufferAt(tensorAt(index)), access: "read" as const })),
      { memory: bufferAt(isTensor.filter(Boolean).length), access: "read_write" },
    ],
    params: words,
    grid: grid.groups,
  };
}

const maxGroups = 65535;

/** Workgroups, folded as gpu.js folds a long row; `width` is the threads of one fold. */
function gridOf(
  { workgroupSize }: GpuJsTranslator,
  size: readonly [number, number, number],
  rank: number,
): { groups: [number, number, number]; width: number } {
  const counts = size.map((extent, axis) => Math.ceil(extent / (workgroupSize[axis] ?? 1)));
  const [x = 1, y = 1, z = 1] = counts;
  if (rank > 1) return { groups: [x, y, z], width: 0 };
  const rows = Math.ceil(x / maxGroups) || 1;
  const columns = Math.ceil(x / rows);
  return { groups: [columns, rows, 1], width: columns * (workgroupSize[0] ?? 1) };
}
