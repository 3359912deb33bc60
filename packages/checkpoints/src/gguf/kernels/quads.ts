import { type FunctionBuilder, i32, i32x4, type Local, type Value, v128 } from "@heddle/tensor/kernel";

type I32 = Local<"i32">;
export type Vector = Value<"v128">;

/** Four sub-blocks of `size` numbers, one in each lane: vector i holds number i of each. */
export interface Quad {
  readonly f: FunctionBuilder;
  /** Memory of the vectors, and of others behind them. */
  readonly room: I32;
  readonly size: 16 | 32;
}

/** Vectors that a loop takes at a time. */
const STEP = 4;

/** Writes four sub-blocks that lie one after another at `source` into the room. */
export function transposeInto({ f, room, size }: Quad, source: I32): void {
  f.for(0, 4 * size, 16, (offset) => {
    const from = f.let(i32.add(source, offset));
    const row = (k: number) => f.let(v128.load(from, 4 * size * k));
    const [a, b, c, d] = [row(0), row(1), row(2), row(3)];
    const to = f.let(i32.add(room, i32.shl(offset, 2)));
    for (const [half, first] of [0, 2].entries()) {
      const [low, high] = [first, first + 1];
      const ab = f.let(i32x4.shuffle(a, b, [low, 4 + low, high, 4 + high]));
      const cd = f.let(i32x4.shuffle(c, d, [low, 4 + low, high, 4 + high]));
      f.store("v128", to, i32x4.shuffle(ab, cd, [0, 1, 4, 5]), 32 * half);
      f.store("v128", to, i32x4.shuffle(ab, cd, [2, 3, 6, 7]), 32 * half + 16);
    }
  });
}

/** Runs through the numbers in order; `body` gets an address whose vector at byte 16 size t is that of table t. */
export function eachNumber({ f, room, size }: Quad, body: (at: I32, byte: number) => void): void {
  f.for(0, 16 * size, 16 * STEP, (offset) => {
    const at = f.let(i32.add(room, offset));
    for (let i = 0; i < STEP; i++) body(at, 16 * i);
  });
}

/** A variable that begins with a value. */
export function variable(f: FunctionBuilder, value: Vector): Local<"v128"> {
  const result = f.local("v128");
  f.set(result, value);
  return result;
}
