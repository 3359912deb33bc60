/** The parts of Node's built-in modules that the cpu device uses, so that no bundle for a browser ever imports them. */
interface NodeBuiltins {
  readonly "node:v8": { setFlagsFromString(flags: string): void };
  readonly "node:worker_threads": {
    readonly Worker: new (source: string, options: object) => NodeWorker;
  };
  readonly "node:os": { availableParallelism(): number };
}

export interface NodeWorker {
  postMessage(message: unknown): void;
  on(event: "error", listener: (error: unknown) => void): void;
  on(event: "exit", listener: (code: number) => void): void;
  unref(): void;
  terminate(): Promise<number>;
}

interface NodeProcess {
  readonly versions?: Readonly<Record<string, string | undefined>>;
  readonly execArgv?: readonly string[];
  getBuiltinModule?(name: string): unknown;
}

/** A built-in module of Node (22.3 or later); undefined elsewhere. */
export function nodeBuiltin<Name extends keyof NodeBuiltins>(name: Name): NodeBuiltins[Name] | undefined {
  const { process } = globalThis as { process?: NodeProcess };
  if (process?.versions?.node === undefined) return undefined;
  return process.getBuiltinModule?.(name) as NodeBuiltins[Name] | undefined;
}

/** V8's version from which it knows every flag below; an unknown one would be printed on stderr. */
const MIN_V8_MAJOR = 12;

/**
 * Flags under which Heddle's modules are compiled, and those that undo them.
 *
 * - Optimised before the first run: V8 would else start in the baseline compiler and stay there for the first half second.
 *   Kernels are so small that this takes about a millisecond.
 * - Pairs of 128-bit operations become one of 256 bits where the processor has AVX2.
 */
const flags = [
  ["--no-liftoff", "--liftoff"],
  ["--no-wasm-lazy-compilation", "--wasm-lazy-compilation"],
  ["--experimental-wasm-revectorize", "--no-experimental-wasm-revectorize"],
] as const;

/** Whether this engine takes the flags: Node itself, unless whoever started it tuned its WebAssembly compilers already. */
function takesFlags(): boolean {
  const { process } = globalThis as { process?: NodeProcess };
  if (process?.versions?.bun !== undefined || process?.versions?.deno !== undefined) return false;
  const isTuned = process?.execArgv?.some((flag) => /liftoff|wasm/.test(flag)) ?? false;
  return !isTuned && Number.parseInt(process?.versions?.v8 ?? "0", 10) >= MIN_V8_MAJOR;
}

/**
 * Compiles a module; in Node under flags that make it as fast as the machine allows. They are set for this module alone: other
 * WebAssembly in the process is compiled as ever.
 */
export function compileModule(bytes: Uint8Array): WebAssembly.Module {
  const v8 = takesFlags() ? nodeBuiltin("node:v8") : undefined;
  for (const [on] of flags) v8?.setFlagsFromString(on);
  try {
    return new WebAssembly.Module(bytes as Uint8Array<ArrayBuffer>);
  } finally {
    for (const [, off] of flags) v8?.setFlagsFromString(off);
  }
}
