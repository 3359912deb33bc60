import { type FunctionBuilder, i32, type Local } from "@heddle/tensor/kernel";

type Address = Local<"i32">;

const lineBytes = 64;

/** Memory that is read a little at a time between products, before it is needed: WebAssembly has no prefetch. */
export interface ReadAhead {
  /** The next byte to read; moves on. */
  readonly at: Address;
  readonly end: Address;
  /** Gathers what is read, so that the engine keeps the reads: store it once. */
  readonly word: Address;
}

/** How many cache lines each of `calls` calls must read for so many bytes in all. */
export function linesFor(bytes: number, calls: number): number {
  return Math.ceil(bytes / lineBytes / calls);
}

/** Emits a read of one word of each of the next lines; none where fewer are left. */
export function emitReadAhead(f: FunctionBuilder, { at, end, word }: ReadAhead, lines: number): void {
  f.if(i32.leU(i32.add(at, lines * lineBytes), end), () => {
    for (let line = 0; line < lines; line++) f.set(word, i32.or(word, i32.load(at, line * lineBytes)));
    f.increase(at, lines * lineBytes);
  });
}
