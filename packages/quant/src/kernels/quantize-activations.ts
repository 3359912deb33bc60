import {
  argument,
  type CpuFeatures,
  type FunctionBuilder,
  f32,
  f32x4,
  i8x16,
  i16x8,
  i32,
  i32x4,
  type KernelArgument,
  type KernelStep,
  kernelStep,
  type Local,
  type Value,
  v128,
} from "@heddle/tensor/kernel";
import { BLOCK_SIZE } from "../quant-format.js";
import { widenPairs } from "./int8-dot.js";

/**
 * A block of 32 activations, rounded to q = round(x / scale) with scale = max|x| / 127: bytes from the record's start.
 * Sums are those of the first 16, the last 16 and all codes; `scaledSum*` are these times the scale.
 */
export const record = {
  scale: 0,
  sums: [4, 8],
  sum: 20,
  scaledSums: [12, 16],
  scaledSum: 24,
  codes: 32,
} as const;

/** How codes are stored: bytes for products with unsigned 4- and 6-bit codes, 16-bit numbers for those with 8-bit codes. */
export type ActivationBits = 8 | 16;

export function recordBytes(bits: ActivationBits): number {
  return record.codes + (BLOCK_SIZE * bits) / 8;
}

export interface ActivationShape {
  readonly rows: number;
  readonly columns: number;
  readonly bits: ActivationBits;
}

/** Bytes that the records of x take, and those of the room for blocks that are filled up with zeros. */
export function activationBytes({ rows, columns, bits }: ActivationShape) {
  const records = rows * Math.ceil(columns / BLOCK_SIZE) * recordBytes(bits);
  const spare = columns % BLOCK_SIZE === 0 ? 0 : rows * BLOCK_SIZE * 4;
  return { records: Math.ceil(records / 64) * 64, spare: Math.ceil(spare / 64) * 64 };
}

/** Below this the largest of a block counts as zero: its scale would be denormal, which processors are slow with. */
const LEAST_MAXIMUM = 2 ** -100;

/**
 * Rounds x [rows, columns] to int8 in blocks of 32: records [rows, blocks] at `target`. A unit is a row.
 *
 * Ties go to even. A block with a NaN gives NaN, one with an infinity nothing finite.
 */
export function quantizeStep(
  { rows, columns, bits }: ActivationShape,
  {
    x,
    target,
    spare,
  }: { readonly x: KernelArgument; readonly target: KernelArgument; readonly spare: number },
  features: CpuFeatures,
): KernelStep {
  const tail = columns % BLOCK_SIZE;
  const numBlocks = Math.ceil(columns / BLOCK_SIZE);
  const room = tail === 0 ? argument.i32(0) : argument.scratch(spare);
  const { i32: number } = argument;
  return kernelStep(
    {
      key: `quant-activations:${bits}:${tail}`,
      features,
      args: [x, target, room, number(columns), number(numBlocks)],
      units: rows,
      grain: 8192 / (columns + 32),
    },
    (f, [source, records, filler, width, blocks], { begin, end }) => {
      f.for(begin, end, 1, (row) => {
        const from = f.let(i32.add(source as Local<"i32">, i32.shl(i32.mul(row, width as Local<"i32">), 2)));
        const to = f.let(
          i32.add(records as Local<"i32">, i32.mul(i32.mul(row, blocks as Local<"i32">), recordBytes(bits))),
        );
        const whole = f.let(i32.sub(blocks as Local<"i32">, tail === 0 ? 0 : 1));
        f.for(0, whole, 1, () => {
          quantizeBlock(f, { from, to, bits });
          f.increase(from, 4 * BLOCK_SIZE);
          f.increase(to, recordBytes(bits));
        });
        if (tail === 0) return;
        const filled = f.let(i32.add(filler as Local<"i32">, i32.mul(row, 4 * BLOCK_SIZE)));
        f.fillMemory(filled, 0, 4 * BLOCK_SIZE);
        f.copyMemory(filled, from, 4 * tail);
        quantizeBlock(f, { from: filled, to, bits });
      });
    },
  );
}

/**
 * The largest size among the numbers of some vectors. Sizes are compared as whole numbers, one instruction each: the bits of
 * floats without their sign are in the floats' order, with NaN above infinity.
 */
function largestSize(f: FunctionBuilder, vectors: readonly Value<"v128">[]): Local<"f32"> {
  const sizes = vectors.map((x) => v128.and(x, 0x7fff_ffff));
  const a = f.let(sizes.reduce((x, y) => i32x4.maxS(x, y)));
  const b = f.let(i32x4.maxS(a, i32x4.shuffle(a, a, [2, 3, 0, 1])));
  return f.let(f32x4.extract(i32x4.maxS(b, i32x4.shuffle(b, b, [1, 0, 3, 2])), 0));
}

/** 1.5 x 2^23: a small float added to it is rounded to a whole number, ties to even, in its low bits. */
const ROUNDER = 12_582_912;
const ROUNDER_BITS = 0x4b40_0000;

function quantizeBlock(
  f: FunctionBuilder,
  {
    from,
    to,
    bits,
  }: { readonly from: Local<"i32">; readonly to: Local<"i32">; readonly bits: ActivationBits },
): void {
  const x = Array.from({ length: 8 }, (_, i) => f.let(v128.load(from, 16 * i)));
  const largest = largestSize(f, x);
  const scale = f.local("f32");
  const inverse = f.local("f32");
  f.set(scale, 0);
  f.set(inverse, 0);
  f.if(i32.eqz(f32.lt(largest, LEAST_MAXIMUM)), () => {
    f.set(scale, f32.div(largest, 127));
    f.set(inverse, f32.div(127, largest));
  });
  const factor = f.let(f32x4.splat(inverse));
  const whole = x.map((vector) => i32x4.sub(f32x4.add(f32x4.mul(vector, factor), ROUNDER), ROUNDER_BITS));
  const pairs = Array.from({ length: 4 }, (_, i) =>
    f.let(i16x8.narrowI32x4S(whole[2 * i] ?? factor, whole[2 * i + 1] ?? factor)),
  );
  if (bits === 16) for (const [i, pair] of pairs.entries()) f.store("v128", to, pair, record.codes + 16 * i);
  const sumOf = (first: Local<"v128">, second: Local<"v128">) => {
    const four = f.let(widenPairs(i16x8.add(first, second)));
    const two = f.let(i32x4.add(four, i32x4.shuffle(four, four, [2, 3, 0, 1])));
    return f.let(i32.add(i32x4.extract(two, 0), i32x4.extract(two, 1)));
  };
  const [a, b, c, d] = pairs;
  if (a === undefined || b === undefined || c === undefined || d === undefined) return;
  if (bits === 8) {
    f.store("v128", to, i8x16.narrowI16x8S(a, b), record.codes);
    f.store("v128", to, i8x16.narrowI16x8S(c, d), record.codes + 16);
  }
  const halves = [sumOf(a, b), sumOf(c, d)];
  const [first, second] = halves;
  if (first === undefined || second === undefined) return;
  const total = f.let(i32.add(first, second));
  f.store("f32", to, scale, record.scale);
  for (const [i, half] of halves.entries()) {
    f.store("i32", to, half, record.sums[i]);
    f.store("f32", to, f32.mul(scale, f32.convertI32S(half)), record.scaledSums[i]);
  }
  f.store("i32", to, total, record.sum);
  f.store("f32", to, f32.mul(scale, f32.convertI32S(total)), record.scaledSum);
}
