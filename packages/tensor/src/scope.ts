import type { Device } from "./device.js";
import { flattenTree } from "./tree.js";

interface Owned {
  dispose(): void;
}

/** Per device: the open scopes, innermost last, and how many gradient tapes are open. */
interface Runtime {
  readonly scopes: Set<Owned>[];
  tapeDepth: number;
}

const runtimes = new WeakMap<Device, Runtime>();

/** State that belongs to a device rather than to this module. */
export function runtimeOf(device: Device): Runtime {
  let runtime = runtimes.get(device);
  if (runtime === undefined) {
    runtime = { scopes: [], tapeDepth: 0 };
    runtimes.set(device, runtime);
  }
  return runtime;
}

/** Makes the innermost open scope responsible for a new tensor. */
export function adopt(device: Device, owned: Owned): void {
  runtimeOf(device).scopes.at(-1)?.add(owned);
}

/**
 * Runs `fn` and frees every tensor that was made on `device` inside it, except those in the returned tree.
 * Scopes nest: what an inner scope returns belongs to the outer one. Inside `valueAndGrad` freeing waits until the gradient is
 * done. `fn` must be synchronous.
 */
export function scope<Result>(device: Device, fn: () => Result): Result {
  const runtime = runtimeOf(device);
  const { scopes } = runtime;
  const mine = new Set<Owned>();
  scopes.push(mine);
  let kept: ReadonlySet<unknown> = new Set();
  try {
    const result = fn();
    kept = new Set<unknown>(flattenTree(result).leaves);
    return result;
  } finally {
    scopes.pop();
    // An open tape may still need what was made here: it goes to the scope of that tape.
    const outer = scopes.at(-1);
    const keepsAll = runtime.tapeDepth > 0;
    for (const owned of mine) {
      if (keepsAll || kept.has(owned)) outer?.add(owned);
      else owned.dispose();
    }
  }
}
