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
  readonly versions?: { readonly node?: string; readonly v8?: string };
  readonly execArgv?: readonly string[];
  getBuiltinModule?(name: string): unknown;
}

/** A built-in module of Node (22.3 or later); undefined elsewhere. */
export function nodeBuiltin<Name extends keyof NodeBuiltins>(name: Name): NodeBuiltins[Name] | undefined {
  const { process } = globalThis as { process?: NodeProcess };
  if (process?.versions?.node === undefined) return undefined;
  return process.getBuiltinModule?.(name) as NodeBuiltins[Name] | undefined;
}

/**
 * Lets V8 join pairs of 128-bit operations into 256-bit ones in modules compiled from now on (Node only).
 * @returns whether a flag was set; whether it has an effect depends on the engine and the processor
 */
export function switchOnRevectorization(): boolean {
  const v8 = nodeBuiltin("node:v8");
  v8?.setFlagsFromString("--experimental-wasm-revectorize");
  return v8 !== undefined;
}

const optimizeAtOnce = ["--no-liftoff", "--no-wasm-lazy-compilation"];
const optimizeLater = ["--liftoff", "--wasm-lazy-compilation"];

/**
 * Compiles a module. In Node it is optimised before its first run, where V8 would else start in the baseline compiler and
 * stay there for the first half second; kernels are so small that this takes a millisecond.
 */
export function compileModule(bytes: Uint8Array): WebAssembly.Module {
  const v8 = nodeBuiltin("node:v8");
  // Whoever started Node with flags for its WebAssembly compilers keeps them.
  const isTuned = (globalThis as { process?: NodeProcess }).process?.execArgv?.some((flag) =>
    /liftoff|wasm/.test(flag),
  );
  if (v8 === undefined || isTuned) return new WebAssembly.Module(bytes as Uint8Array<ArrayBuffer>);
  for (const flag of optimizeAtOnce) v8.setFlagsFromString(flag);
  try {
    return new WebAssembly.Module(bytes as Uint8Array<ArrayBuffer>);
  } finally {
    for (const flag of optimizeLater) v8.setFlagsFromString(flag);
  }
}
