import {
  type FunctionBuilder,
  f32,
  f32x4,
  i32,
  type Local,
  select,
  type Value,
  v128,
} from "@heddle/tensor/kernel";

type Address = Local<"i32">;

export function minimum(f: FunctionBuilder, x: Value<"i32">, y: Value<"i32"> | number): Local<"i32"> {
  const a = f.let(x);
  const b = f.let(i32.add(y, 0));
  return f.let(select(i32.ltS(a, b), a, b));
}

/**
 * Emits the store of vectors side by side, the last first: an engine that joins pairs does so at the store of the second half,
 * and leaves that of the first in place where it comes before.
 */
export function storeVectors(
  f: FunctionBuilder,
  address: Value<"i32">,
  vectors: readonly Local<"v128">[],
  byteOffset = 0,
): void {
  for (const [i, vector] of [...vectors.entries()].reverse()) {
    f.store("v128", address, vector, byteOffset + i * 16);
  }
}

/** Emits `target[i] = source[i] * factor` for `count` floats. */
export function emitScaleRow(
  f: FunctionBuilder,
  {
    source,
    target,
    factor,
    count,
  }: { source: Address; target: Address; factor: Value<"f32">; count: number },
): void {
  const scalar = f.let(factor);
  const lanes = f.let(f32x4.splat(scalar));
  const from = f.let(source);
  const to = f.let(target);
  f.for(0, Math.floor(count / 4), 1, () => {
    f.store("v128", to, f32x4.mul(v128.load(from), lanes));
    f.increase(from, 16);
    f.increase(to, 16);
  });
  for (let i = 0; i < count % 4; i++) f.store("f32", to, f32.mul(f32.load(from, i * 4), scalar), i * 4);
}

/** Emits the dot product of two rows of `count` floats. */
export function emitDotRows(
  f: FunctionBuilder,
  { a, b, count }: { a: Address; b: Address; count: number },
): Local<"f32"> {
  const lanes = f.let(f32x4.splat(0));
  const aAt = f.let(a);
  const bAt = f.let(b);
  f.for(0, Math.floor(count / 4), 1, () => {
    f.set(lanes, f32x4.add(lanes, f32x4.mul(v128.load(aAt), v128.load(bAt))));
    f.increase(aAt, 16);
    f.increase(bAt, 16);
  });
  const sum = f.let(emitLaneSum(lanes));
  for (let i = 0; i < count % 4; i++) {
    f.set(sum, f32.add(sum, f32.mul(f32.load(aAt, i * 4), f32.load(bAt, i * 4))));
  }
  return sum;
}

function emitLaneSum(lanes: Local<"v128">): Value<"f32"> {
  const pair = (i: number) => f32.add(f32x4.extract(lanes, i), f32x4.extract(lanes, i + 2));
  return f32.add(pair(0), pair(1));
}

/**
 * Emits the transpose of a tile: `target[d * width + r] = source[r * columns + d] * scale`; columns of `target` beyond
 * `numRows` become 0.
 */
export function emitPackTransposed(
  f: FunctionBuilder,
  tile: {
    readonly source: Value<"i32">;
    readonly target: Address;
    readonly numRows: Address;
    readonly columns: number;
    readonly width: number;
    readonly scale: number;
  },
): void {
  const { columns, width, scale, target, numRows } = tile;
  f.if(i32.ltS(numRows, width), () => f.fillMemory(target, 0, columns * width * 4));
  const from = f.let(tile.source);
  f.for(0, numRows, 1, (row) => {
    const to = f.let(i32.add(target, i32.shl(row, 2)));
    f.for(0, Math.floor(columns / 4), 1, () => {
      const lanes = f.let(f32x4.mul(v128.load(from), scale));
      for (let lane = 0; lane < 4; lane++) f.storeLane(32, to, lanes, { lane, byteOffset: lane * width * 4 });
      f.increase(from, 16);
      f.increase(to, 16 * width);
    });
    for (let i = 0; i < columns % 4; i++) {
      f.store("f32", to, f32.mul(f32.load(from, i * 4), scale), i * width * 4);
    }
    f.increase(from, (columns % 4) * 4);
  });
}
