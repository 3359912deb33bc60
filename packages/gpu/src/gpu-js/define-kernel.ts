import {
  defineOp,
  HeddleError,
  type HostArray,
  type Shape,
  sizeOf,
  Tensor,
  type TensorType,
} from "@heddle/tensor";
import { lintKernel } from "./lint-kernel.js";
import { type GpuJsKernel, type GpuJsModule, type GpuJsTranslator, loadGpuJs, modeOf } from "./module.js";
import { type KernelSource, kernelStep, translateKernel } from "./translate-kernel.js";

/** `this` inside a kernel. */
export interface KernelContext {
  /** Which element of the result is computed; x counts the last axis. */
  readonly thread: { readonly x: number; readonly y: number; readonly z: number };
  readonly output: { readonly x: number; readonly y: number; readonly z: number };
  readonly constants: Readonly<Record<string, number>>;
}

/** Gives the gradient of each tensor argument. */
export type KernelGradient = (context: {
  readonly inputs: readonly Tensor[];
  readonly numbers: readonly number[];
  readonly output: Tensor;
  readonly grad: Tensor;
}) => readonly (Tensor | undefined)[];

export interface KernelOptions {
  /** Shown in plans and errors. */
  readonly name: string;
  /** Computes one number of the result; tensors arrive as arrays `x[this.thread.y][this.thread.x]`, at most three deep. */
  readonly source: ((this: KernelContext, ...args: never[]) => number) | string;
  /** Shape of the result; default that of the first tensor. */
  readonly output?: (inputs: readonly TensorType[], numbers: readonly number[]) => Shape;
  /** Tensors and result are seen as one row, whatever their shape: `x[this.thread.x]`. Default false. */
  readonly flat?: boolean;
  /** Read as `this.constants.NAME`. */
  readonly constants?: Readonly<Record<string, number>>;
  /** Without it the result has no gradient. */
  readonly vjp?: KernelGradient;
  /** gpu.js itself; needed where a bundler packs the program. */
  readonly gpuJs?: GpuJsModule;
  /** Where there is no WebGPU: gpu.js's "webgl2", "webgl", "webasm" or "cpu". Default: the first that works. */
  readonly mode?: "webgl2" | "webgl" | "webasm" | "cpu";
  /** gpu.js's own settings: `loopMaxIterations`, `functions`, `tactic`, .. */
  readonly settings?: Readonly<Record<string, unknown>>;
}

/** Runs a kernel over f32 tensors and numbers, in the order of the function's parameters. */
export type DefinedKernel = (...args: readonly (Tensor | number)[]) => Tensor;

interface KernelParams {
  readonly numbers: readonly number[];
  readonly isTensor: readonly boolean[];
}

const knownOptions = ["name", "source", "output", "flat", "constants", "vjp", "gpuJs", "mode", "settings"];

/**
 * Makes an op of a plain JavaScript function, by gpu.js.
 *
 * On a webgpu device gpu.js translates the function to WGSL, and Heddle runs it on its own buffers like every other kernel:
 * eager, compiled and under gradients (`vjp`), without a copy. On other devices gpu.js runs it itself, by WebGL, WebAssembly
 * or plain JavaScript (`mode`); `tensor.executedOn` then says "gpu.js webasm" or the like.
 *
 * Shapes: tensors of at most three axes (any number with `flat`) and numbers -> `output(..)`, f32.
 * @throws HeddleError "config" if the source is not what gpu.js translates faithfully, "unsupported" without gpu.js
 * @see https://github.com/gpujs/gpu.js
 */
export async function defineKernel(options: KernelOptions): Promise<DefinedKernel> {
  const {
    name,
    flat = false,
    output: shapeOf = (inputs) => inputs[0]?.shape ?? [],
    settings = {},
    vjp,
  } = options;
  checkOptions(options);
  const gpuJs = options.gpuJs ?? (await loadGpuJs());
  const functions = namesOf(settings.functions);
  const hasLoopLimit = settings.loopMaxIterations !== undefined;
  const { source, parameters } = lintKernel(String(options.source), { name, functions, hasLoopLimit });
  const allSettings = { ...settings, ...(options.constants && { constants: options.constants }) };
  const seen = (shape: Shape): Shape => (flat ? [sizeOf(shape)] : shape.length === 0 ? [1] : shape);
  const host = hostRunner(gpuJs, { name, source, settings: allSettings, mode: options.mode });
  const translated = new Map<string, GpuJsTranslator>();
  const op = defineOp<KernelParams>({
    name,
    infer(inputs, { numbers }) {
      const shape = shapeOf(inputs, numbers);
      for (const type of [...inputs, { shape, dtype: inputs[0]?.dtype ?? "f32" }])
        checkType(name, type, flat);
      return [{ shape, dtype: inputs[0]?.dtype ?? "f32" }];
    },
    evaluatesOn: `gpu.js ${host.mode}`,
    evaluate(inputs, [output], { numbers, isTensor }) {
      if (output) host.run(inputs, output, { numbers, isTensor, seen });
    },
    ...(vjp && {
      vjp({ inputs, outputs: [output], grads: [grad], params }) {
        return output && grad ? vjp({ inputs, numbers: params.numbers, output, grad }) : [];
      },
    }),
    kernels: {
      wgsl({ inputs, outputs: [output], params: { numbers, isTensor } }) {
        if (output === undefined) return undefined;
        const kernel: KernelSource = { name, source, settings: allSettings, isTensor };
        const size = seen(output.shape);
        const key = `${size.length} ${isTensor.join()}`;
        const translator = translated.get(key) ?? translateKernel(gpuJs, kernel, size.length);
        translated.set(key, translator);
        const shapes = inputs.map(({ shape }) => seen(shape));
        return { steps: [kernelStep(translator, kernel, { shapes, output: size, numbers })] };
      },
    },
  });
  return (...args) => {
    checkArguments(name, parameters, args);
    const numbers = args.filter((argument): argument is number => typeof argument === "number");
    const tensors = args.filter((argument): argument is Tensor => argument instanceof Tensor);
    return op.call(tensors, { numbers, isTensor: args.map((argument) => typeof argument !== "number") });
  };
}

/** Kernels that gpu.js keeps for shapes seen lately. */
const maxHostKernels = 32;

interface HostCall extends KernelParams {
  readonly seen: (shape: Shape) => Shape;
}

/** Runs a kernel by gpu.js itself, one of its kernels for each shape of result. */
function hostRunner(
  gpuJs: GpuJsModule,
  kernel: {
    readonly name: string;
    readonly source: string;
    readonly settings: object;
    readonly mode: string | undefined;
  },
): { readonly mode: string; run(inputs: readonly HostArray[], output: HostArray, call: HostCall): void } {
  const { GPU, Input } = gpuJs;
  const instance = new GPU(kernel.mode === undefined ? {} : { mode: kernel.mode });
  const kernels = new Map<string, GpuJsKernel>();
  const prepare = (size: readonly number[], key: string): GpuJsKernel => {
    const known = kernels.get(key);
    if (known) return known;
    if (kernels.size >= maxHostKernels) {
      for (const old of kernels.values()) old.destroy();
      kernels.clear();
    }
    const made = instance.createKernel(kernel.source, { ...kernel.settings, output: [...size] });
    kernels.set(key, made);
    return made;
  };
  return {
    mode: modeOf(gpuJs, instance),
    run(inputs, output, { numbers, isTensor, seen }) {
      if (output.data.length === 0) return;
      const size = [...seen(output.shape)].reverse();
      const sizes = inputs.map(({ shape }) => [...seen(shape)].reverse());
      const arrays = inputs.map(({ data }, i) => new Input(Float32Array.from(data), sizes[i] ?? [1]));
      const rest = [...numbers];
      const args = isTensor.map((is) => (is ? (arrays.shift() ?? 0) : (rest.shift() ?? 0)));
      const result = prepare(size, `${size}/${sizes.join("/")}`)(...args);
      output.data.set(flatten(result));
    },
  };
}

/** Rows of gpu.js as one list. */
function flatten(result: unknown): Float32Array {
  if (result instanceof Float32Array) return result;
  const parts = (result as readonly unknown[]).map((part) =>
    typeof part === "number" ? Float32Array.of(part) : flatten(part),
  );
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function namesOf(functions: unknown): string[] {
  const list = Array.isArray(functions) ? functions : Object.values((functions as object | undefined) ?? {});
  return list.map((entry: unknown) => (entry as { name?: string }).name ?? "");
}

function checkOptions(options: KernelOptions): void {
  const unknown = Object.keys(options).find((option) => !knownOptions.includes(option));
  if (unknown === undefined) return;
  throw new HeddleError(
    "config",
    `defineKernel: options are ${knownOptions.join(", ")}; got ${unknown}. Put gpu.js's own settings into \`settings\`.`,
    { option: unknown },
  );
}

function checkArguments(name: string, parameters: readonly string[], args: readonly unknown[]): void {
  const wrong = args.find((argument) => typeof argument !== "number" && !(argument instanceof Tensor));
  const hasTensor = args.some((argument) => argument instanceof Tensor);
  if (args.length === parameters.length && wrong === undefined && hasTensor) return;
  const got = args.map((argument) => (argument instanceof Tensor ? "tensor" : typeof argument)).join(", ");
  throw new HeddleError(
    "config",
    `${name}: a tensor or number for each parameter (${parameters.join(", ")}) is needed, at least one of them a tensor; got (${got}). Check the call.`,
    { parameters, got },
  );
}

function checkType(name: string, { shape, dtype }: TensorType, flat: boolean): void {
  if (dtype !== "f32" && dtype !== "f64") {
    throw new HeddleError(
      "dtype",
      `${name}: gpu.js computes in f32; got ${dtype}[${shape.join(", ")}]. Convert with \`.cast("f32")\`.`,
      { dtype },
    );
  }
  if (!flat && shape.length > 3) {
    throw new HeddleError(
      "shape",
      `${name}: gpu.js knows at most three axes; got [${shape.join(", ")}]. Reshape, or define the kernel with \`flat: true\`.`,
      { shape },
    );
  }
}
