import { assemble, type FunctionBuilder } from "../../wasm/assembler.js";
import { i32 } from "../../wasm/scalar.js";
import type { Local } from "../../wasm/value.js";
import type { CpuFeatures, KernelArgument, KernelStep } from "../kernel.js";

/** Makers of launch arguments. */
export const argument = {
  buffer: (index: number) => ({ kind: "buffer", index }) as const,
  scratch: (byteOffset: number) => ({ kind: "scratch", byteOffset }) as const,
  i32: (value: number) => ({ kind: "i32", value }) as const,
  f32: (value: number) => ({ kind: "f32", value }) as const,
};

/** The parameters that stand for a list of arguments, in the same order. */
export type Parameters<A extends readonly KernelArgument[]> = {
  readonly [K in keyof A]: A[K] extends { readonly kind: "f32" } ? Local<"f32"> : Local<"i32">;
};

/** The units that a call of `run` does: begin..end-1. */
export interface UnitRange {
  readonly begin: Local<"i32">;
  readonly end: Local<"i32">;
}

/**
 * Describes one parallel loop: declares a parameter per argument and hands them to `build`.
 *
 * `build` may depend only on what `key` says (and on the features): every size comes in through an argument, so that one
 * module serves every length.
 */
export function kernelStep<const A extends readonly KernelArgument[]>(
  spec: {
    readonly key: string;
    readonly features: CpuFeatures;
    readonly args: A;
    readonly units: number;
    readonly grain: number;
    readonly isStream?: boolean | undefined;
  },
  build: (f: FunctionBuilder, parameters: Parameters<A>, range: UnitRange) => void,
): KernelStep {
  const { features, args, units, grain, isStream } = spec;
  return {
    args,
    units,
    grain: Math.max(1, Math.round(grain)),
    isStream,
    module: {
      key: `${spec.key}|${featureKey(features)}`,
      emit: () =>
        assemble(features, (f) => {
          const parameters = args.map((arg) => f.param(arg.kind === "f32" ? "f32" : "i32"));
          const range = { begin: f.param("i32"), end: f.param("i32") };
          f.if(i32.geS(range.begin, range.end), () => f.return()); // no units: sizes may be 0
          build(f, parameters as unknown as Parameters<A>, range);
        }),
    },
  };
}

function featureKey({ sharedMemory, relaxedSimd, revectorized, int8Dot }: CpuFeatures): string {
  const names = [sharedMemory && "shared", relaxedSimd && "relaxed", revectorized && "revectorized"];
  return [...names, int8Dot && "dot"].filter(Boolean).join("+");
}

/** Hands out parameters from the front, so many at each call. */
export function takeFrom(parameters: readonly Local[]): (count: number) => Local[] {
  let position = 0;
  return (count) => {
    position += count;
    return parameters.slice(position - count, position);
  };
}
