import type { TensorType } from "@heddle/tensor";
import {
  assemble,
  type CpuFeatures,
  type FunctionBuilder,
  f32,
  f32x4,
  i32,
  i32x4,
  type Local,
  laneMath,
  type Value,
  v128,
  type WasmKernelFactory,
} from "@heddle/tensor/kernel";

/** Most vectors of state that a channel keeps in registers. */
const mostVectors = 32;

/**
 * WebAssembly kernel of `selectiveScan` for f32 and N a multiple of 4: one unit runs one channel of one row through time, its
 * state in registers, four numbers a lane. Twin: the op's `evaluate`.
 */
export const selectiveScanWasm: WasmKernelFactory<Record<string, never>> = (call, features) => {
  const sizes = kernelSizes(call.inputs);
  if (sizes === undefined) return undefined;
  const { B, T, I, G, N, rateN } = sizes;
  const args = Array.from({ length: 8 }, (_, index) => ({ kind: "buffer", index }) as const);
  return {
    steps: [
      {
        module: {
          key: `selective-scan ${[I, G, N, rateN]} relaxed ${features.relaxedSimd} shared ${features.sharedMemory}`,
          emit: () => emitScan(sizes, features),
        },
        args: [...args, { kind: "i32", value: T }],
        units: B * I,
        grain: Math.max(1, Math.ceil(16_384 / (T * N))),
      },
    ],
  };
};

interface KernelSizes {
  readonly B: number;
  readonly T: number;
  readonly I: number;
  readonly G: number;
  readonly N: number;
  readonly rateN: number;
}

function kernelSizes([x, , rate, write]: readonly TensorType[]): KernelSizes | undefined {
  const [B = 0, T = 0, I = 0] = x?.shape ?? [];
  const [, , G = 1, N = 0] = write?.shape ?? [];
  const rateN = rate?.shape[1] ?? 1;
  const canRun = x?.dtype === "f32" && N % 4 === 0 && N > 0 && N / 4 <= mostVectors && B * I > 0;
  return canRun ? { B, T, I, G, N, rateN } : undefined;
}

function emitScan({ I, G, N, rateN }: KernelSizes, features: CpuFeatures): Uint8Array {
  return assemble({ sharedMemory: features.sharedMemory }, (f) => {
    const next = () => f.param("i32");
    const [x, delta, rate, write, read, before] = [next(), next(), next(), next(), next(), next()];
    const [out, after, T, begin, end] = [next(), next(), next(), next(), next()];
    const math = laneMath(f, features);
    const vectors = Array.from({ length: N / 4 }, (_, v) => v);
    const states = vectors.map(() => f.local("v128"));
    const at = (base: Value<"i32">, element: Value<"i32">) => i32.add(base, i32.shl(element, 2));
    f.for(begin, end, 1, (unit) => {
      const row = f.let(i32.divU(unit, I));
      const channel = f.let(i32.sub(unit, i32.mul(row, I)));
      const group = f.let(i32.divU(channel, I / G));
      const stateAt = f.let(i32.mul(unit, N * 4));
      const rateAt = f.let(i32.add(rate, i32.mul(channel, rateN * 4)));
      for (const v of vectors) f.set(local(states, v), v128.load(i32.add(before, stateAt), v * 16));
      const first = i32.mul(row, T);
      const place = f.let(i32.add(i32.mul(first, I), channel));
      const groupRow = f.let(i32.mul(i32.add(i32.mul(first, G), group), N * 4));
      f.for(0, T, 1, () => {
        const token = {
          step: f.let(f32.load(at(delta, place))),
          input: f.let(f32.load(at(x, place))),
          write: f.let(i32.add(write, groupRow)),
          read: f.let(i32.add(read, groupRow)),
        };
        f.store("f32", at(out, place), scanToken(f, { math, states, rateAt, rateN }, token));
        f.increase(place, I);
        f.increase(groupRow, G * N * 4);
      });
      for (const v of vectors) f.store("v128", i32.add(after, stateAt), local(states, v), v * 16);
    });
  });
}

/** One token of one channel: moves the state on and gives what is read of it. */
function scanToken(
  f: FunctionBuilder,
  {
    math,
    states,
    rateAt,
    rateN,
  }: {
    readonly math: ReturnType<typeof laneMath>;
    readonly states: readonly Local<"v128">[];
    readonly rateAt: Value<"i32">;
    readonly rateN: number;
  },
  {
    step,
    input,
    write,
    read,
  }: Readonly<Record<"step" | "input", Local<"f32">>> & Readonly<Record<"write" | "read", Local<"i32">>>,
): Value<"f32"> {
  const steps = f.let(f32x4.splat(step));
  const entering = f.let(f32x4.splat(f32.mul(step, input)));
  const sum = f.local("v128");
  f.set(sum, f32x4.splat(0));
  const shared = rateN === 1 ? math.exp(f.let(f32x4.mul(steps, f32x4.splat(f32.load(rateAt))))) : undefined;
  for (const [v, state] of states.entries()) {
    const decay = shared ?? math.exp(f.let(f32x4.mul(steps, v128.load(rateAt, v * 16))));
    const kept = f.let(f32x4.mul(decay, state));
    f.set(state, math.madd(entering, f.let(v128.load(write, v * 16)), kept));
    f.set(sum, math.madd(state, f.let(v128.load(read, v * 16)), sum));
  }
  const halves = f.let(f32x4.add(sum, i32x4.shuffle(sum, sum, [2, 3, 2, 3])));
  return f32.add(f32x4.extract(halves, 0), f32x4.extract(halves, 1));
}

function local(states: readonly Local<"v128">[], v: number): Local<"v128"> {
  const state = states[v];
  if (state === undefined) throw new Error("Heddle bug: a vector of state is missing.");
  return state;
}
