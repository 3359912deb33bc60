import { HeddleError } from "../error.js";
import { assemble, type FunctionBuilder } from "../wasm/assembler.js";
import { f32x4, i16x8, i32x4, v128 } from "../wasm/simd.js";
import type { Local, Value } from "../wasm/value.js";
import { compileModule, nodeBuiltin } from "./engine.js";
import type { CpuFeatures } from "./kernel.js";

export interface FeatureOptions {
  /** Threads to use, 1..64; default: as many as the machine has cores, at most 16. */
  readonly threads?: number;
}

const MAX_THREADS = 64;
const DEFAULT_MAX_THREADS = 16;

/**
 * Finds out what this engine and processor offer to kernels, by validating and timing tiny modules.
 * @throws HeddleError "unsupported" where WebAssembly has no 128-bit SIMD
 * @throws HeddleError "config" for a number of threads outside 1..64
 */
export function detectFeatures(options: FeatureOptions = {}): CpuFeatures {
  if (!hasSimd()) {
    throw new HeddleError(
      "unsupported",
      "cpu: the device needs WebAssembly with 128-bit SIMD; got an engine without it. " +
        "Use Node 22, Chrome 91, Firefox 89, Safari 16.4 or later; reference() runs everywhere.",
    );
  }
  const sharedMemory = canShareMemory();
  const relaxedSimd = hasRelaxedSimd();
  const isNode = nodeBuiltin("node:v8") !== undefined;
  return {
    relaxedSimd,
    revectorized: isNode && joinsVectors(relaxedSimd),
    int8Dot: isNode && relaxedSimd && addsDotsAtOnce(),
    sharedMemory,
    threads: sharedMemory ? threadsFor(options.threads) : 1,
  };
}

function threadsFor(asked: number | undefined): number {
  if (asked === undefined) return Math.max(1, Math.min(DEFAULT_MAX_THREADS, numCores()));
  if (Number.isInteger(asked) && asked >= 1 && asked <= MAX_THREADS) return asked;
  throw new HeddleError(
    "config",
    `cpu: threads must be a whole number in 1..${MAX_THREADS}; got threads ${asked}. ` +
      "Leave it out to use every core.",
    { threads: asked },
  );
}

function numCores(): number {
  const os = nodeBuiltin("node:os");
  if (os !== undefined) return os.availableParallelism();
  const { navigator } = globalThis as { navigator?: { readonly hardwareConcurrency?: number } };
  return navigator?.hardwareConcurrency ?? 1;
}

function isValid(build: (f: FunctionBuilder) => void): boolean {
  return typeof WebAssembly === "object" && WebAssembly.validate(assemble({ sharedMemory: false }, build));
}

function hasSimd(): boolean {
  return isValid((f) => f.drop(f32x4.add(f32x4.splat(1), 2)));
}

function hasRelaxedSimd(): boolean {
  return isValid((f) => {
    f.drop(f32x4.relaxedMadd(f32x4.splat(1), f32x4.splat(2), f32x4.splat(3)));
    f.drop(i32x4.relaxedDotI8x16I7x16AddS(i32x4.splat(1), i32x4.splat(2), i32x4.splat(3)));
  });
}

/** Shared memory needs Node, or a page that is cross-origin isolated. */
function canShareMemory(): boolean {
  const { crossOriginIsolated } = globalThis as { crossOriginIsolated?: boolean };
  if (crossOriginIsolated === false || typeof SharedArrayBuffer === "undefined") return false;
  try {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    return memory.buffer instanceof SharedArrayBuffer;
  } catch {
    return false;
  }
}

const PROBE_SUMS = 14;
const PROBE_ROUNDS = 1500;
/** A joined pair takes about half the time of two: 1.8 to 3 times faster was seen under any load, 1.13 at most without joins. */
const PROBE_GAIN = 1.35;
/** So clear a gain ends the tries early. */
const PROBE_CLEAR_GAIN = 1.6;
/** Where the dot product that adds is one instruction, it took 1.5 times less than three; where it is not, 0.8 times. */
const DOT_GAIN = 1.2;
const DOT_CLEAR_GAIN = 1.35;
/** The first tries run cold; later ones may share the core with somebody else, so there are many before a no. */
const PROBE_MIN_TRIES = 8;
const PROBE_MAX_TRIES = 250;

type ProbeStep = (factor: Local<"v128">, vector: Value<"v128">, sum: Local<"v128">) => Value<"v128">;

/**
 * Tells whether the compiler joins neighbouring 128-bit operations: the same sums, once side by side in memory and once
 * with gaps that forbid joining, take equally long where it does not.
 */
function joinsVectors(isFused: boolean): boolean {
  const memory = new WebAssembly.Memory({ initial: 1 });
  const step: ProbeStep = (x, y, sum) =>
    isFused ? f32x4.relaxedMadd(x, y, sum) : f32x4.add(f32x4.mul(x, y), sum);
  const joined = probe(memory, 16, step);
  const apart = probe(memory, 32, step);
  return gainOf(joined, apart, PROBE_CLEAR_GAIN) > PROBE_GAIN;
}

/** Tells whether dot products that add are one instruction: where they are not, the engine puts these three in their place. */
function addsDotsAtOnce(): boolean {
  const memory = new WebAssembly.Memory({ initial: 1 });
  const one = probe(memory, 16, i32x4.relaxedDotI8x16I7x16AddS);
  const three = probe(memory, 16, (x, y, sum) =>
    i32x4.add(i32x4.dotI16x8S(i16x8.relaxedDotI8x16I7x16S(x, y), 0x0001_0001), sum),
  );
  return gainOf(one, three, DOT_CLEAR_GAIN) > DOT_GAIN;
}

/**
 * How many times faster the first function is: the ratio of the shortest of many interleaved tries, of about 3 microseconds
 * each. At most 3 ms of processor time; a clear gain is found in 0.1 ms.
 */
function gainOf(fast: () => void, slow: () => void, clearGain: number): number {
  let [shortestFast, shortestSlow] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let tries = 1; tries <= PROBE_MAX_TRIES; tries++) {
    shortestFast = Math.min(shortestFast, milliseconds(fast));
    shortestSlow = Math.min(shortestSlow, milliseconds(slow));
    if (tries >= PROBE_MIN_TRIES && shortestSlow / shortestFast > clearGain) break;
  }
  return shortestSlow / shortestFast;
}

function milliseconds(run: () => void): number {
  const start = performance.now();
  run();
  return performance.now() - start;
}

function probe(memory: WebAssembly.Memory, gapBytes: number, step: ProbeStep): () => void {
  const bytes = assemble({ sharedMemory: false }, (f) => {
    const sums = Array.from({ length: PROBE_SUMS }, () => f.local("v128"));
    f.for(0, PROBE_ROUNDS, 1, () => {
      const factor = f.let(v128.load32Splat(0, 1024));
      for (const [i, sum] of sums.entries()) f.set(sum, step(factor, v128.load(0, i * gapBytes), sum));
    });
    for (const [i, sum] of sums.entries()) f.store("v128", 0, sum, 2048 + i * gapBytes);
  });
  const { run } = new WebAssembly.Instance(compileModule(bytes), { env: { memory } }).exports;
  return run as () => void;
}
