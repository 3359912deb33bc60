import { compileModule } from "./engine.js";

/** Most bytes that the parameters of a kernel take: engines allow 1000 of them. */
export const MAX_ARGUMENT_BYTES = 4096;

/**
 * The one function that JavaScript calls, whatever the kernel: engines put a call of always the same function with a few numbers in
 * line, where one of ever other functions, with their arguments spread from an array, takes half a microsecond and more.
 *
 * `run(index, address, begin, end)` calls function `index` of a table with the other three, by hand:
 * types (i32, i32, i32) and (i32, i32, i32, i32); import env.table; one function of the second type; its export; its code, which
 * is `call_indirect` with the first type.
 */
const dispatcherBytes = Uint8Array.from([
  ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
  ...[1, 14, 2, 0x60, 3, 0x7f, 0x7f, 0x7f, 0, 0x60, 4, 0x7f, 0x7f, 0x7f, 0x7f, 0],
  ...[2, 15, 1, 3, 0x65, 0x6e, 0x76, 5, 0x74, 0x61, 0x62, 0x6c, 0x65, 1, 0x70, 0, 0],
  ...[3, 2, 1, 1],
  ...[7, 7, 1, 3, 0x72, 0x75, 0x6e, 0, 0],
  ...[10, 15, 1, 13, 0, 0x20, 1, 0x20, 2, 0x20, 3, 0x20, 0, 0x11, 0, 0, 0x0b],
]);

/** Compiles it; an instance imports the table of a thread's kernels. */
export function dispatcherModule(): WebAssembly.Module {
  return compileModule(dispatcherBytes);
}
