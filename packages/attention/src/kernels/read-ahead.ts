import { type FunctionBuilder, i32, type Local } from "@heddle/tensor/kernel";

type Address = Local<"i32">;

const lineBytes = 64;

/** Emits the reads that belong to one of so many steps of the work beside. */
export type PacedReads = (step: number, steps: number) => void;

/**
 * Returns what emits a read of one word of each cache line of a range, spread evenly over the steps of other work: WebAssembly
 * has no prefetch. A read that misses holds up all that comes after it in order, so that memory and arithmetic overlap only
 * where reads are few at a time. The range must be readable, with up to a line behind it.
 */
export function pacedReads(f: FunctionBuilder, address: Address, bytes: number): PacedReads {
  const lines = Math.ceil(bytes / lineBytes);
  return (step, steps) => {
    const until = Math.floor(((step + 1) * lines) / steps);
    for (let line = Math.floor((step * lines) / steps); line < until; line++) {
      f.drop(i32.load(address, line * lineBytes)); // The engine keeps it, since it might trap.
    }
  };
}
