import { HeddleError } from "@heddle/tensor";

// The part of gpu.js that Heddle relies on; test/gpu-js.test.ts pins it.

/** Array of an argument, x fastest: `size` is [x, y, z]. */
export type GpuJsInput = object;

export interface GpuJsKernel {
  (...args: readonly (GpuJsInput | number)[]): unknown;
  destroy(): void;
}

export interface GpuJsInstance {
  /** The class of kernels that an automatic choice came to. Its mode is "webasm", "cpu", or "gpu" for every kind of WebGL. */
  readonly Kernel: { readonly mode: string };
  createKernel(source: string, settings: object): GpuJsKernel;
}

/** gpu.js's translator to WGSL. Its device is never asked for: Heddle runs the text that it writes. */
export interface GpuJsTranslator {
  _buildAsync: () => Promise<void>;
  build(...args: readonly (object | number)[]): unknown;
  readonly compiledSource: string;
  readonly componentCount: number;
  readonly workgroupSize: readonly number[];
  readonly paramsLayout: {
    readonly arrayArgs: readonly { readonly index: number; readonly dimsOffset: number }[];
    readonly scalarArgs: readonly {
      readonly index: number;
      readonly offset: number;
      readonly type: string;
    }[];
    readonly bufferConstants: readonly object[];
    readonly randomSeedOffset: number | null;
    readonly byteLength: number;
  };
}

/** The module gpu.js, as `import gpuJs from "gpu.js"` gives it. */
export interface GpuJsModule {
  readonly GPU: new (settings: object) => GpuJsInstance;
  readonly Input: new (value: Float32Array, size: readonly number[]) => GpuJsInput;
  readonly WebGLKernel: object;
  readonly WebGL2Kernel: object;
  readonly HeadlessGLKernel: object;
  readonly WebGPUKernel: new (source: string, settings: object) => GpuJsTranslator;
}

/** What an instance runs its kernels by: "webgl2", "webgl", "headlessgl", "webasm" or "cpu". */
export function modeOf(gpuJs: GpuJsModule, { Kernel }: GpuJsInstance): string {
  if (Kernel === gpuJs.WebGL2Kernel) return "webgl2";
  if (Kernel === gpuJs.WebGLKernel) return "webgl";
  return Kernel === gpuJs.HeadlessGLKernel ? "headlessgl" : Kernel.mode;
}

/** Loads gpu.js where the caller did not hand it over. */
export async function loadGpuJs(): Promise<GpuJsModule> {
  // Put together at run time, so that bundlers do not look for the package.
  const name = ["gpu", "js"].join(".");
  try {
    const module = await import(/* @vite-ignore */ /* webpackIgnore: true */ name);
    return module.default ?? module;
  } catch (cause) {
    throw new HeddleError(
      "unsupported",
      'defineKernel: gpu.js is needed; got no package of that name. Install it with `npm i gpu.js`, and where a bundler packs the program pass it: `import gpuJs from "gpu.js"`, { gpuJs }.',
      {},
      cause,
    );
  }
}
