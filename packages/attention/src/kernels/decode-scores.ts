import {
  type FunctionBuilder,
  f32x4,
  i32,
  i32x4,
  type Local,
  laneMath,
  type Value,
  v128,
} from "@heddle/tensor/kernel";
import type { DecodePlan, DecodeUnit } from "./decode-plan.js";
import type { KeyRows } from "./flash-forward.wasm.js";
import { emitReadAhead, linesFor, type ReadAhead } from "./read-ahead.js";
import { multiplyAddFor } from "./tile-matmul.js";

type Address = Local<"i32">;

/** Keys that are scored before their values are read: their values stay in the first-level cache. */
export const tileKeys = 64;

/** Features of four keys that one round of products takes. */
const featuresPerRound = 32;

/** A tile of keys under way: its rows in memory and its place among the keys. */
export interface DecodeTile {
  readonly rows: KeyRows;
  readonly firstKey: Address;
  readonly numKeys: Address;
}

/**
 * Emits the scores of a tile of keys for every head of the group; four keys at a time, lanes along the features.
 *
 * Keys come from memory as the products need them; values are read beside, so that memory has work for as long as the products do.
 */
export function emitKeyScores(
  f: FunctionBuilder,
  unit: DecodeUnit,
  tile: DecodeTile,
  /** The tile's values, where they are read meanwhile. */
  values: ReadAhead | undefined,
): void {
  const { plan, query, scores, keys } = unit;
  const { shape, group, params, features } = plan;
  const { headDim, queryLen } = shape;
  const math = laneMath(f, features);
  const keyAt = f.let(tile.rows.key);
  const scoreAt = f.let(scores);
  const biasAt = emitBiasPointers(f, unit, tile.firstKey);
  const lanesAt = f.let(i32.add(scores, group * tileKeys * 4));
  const rounds = Math.ceil(group / 2) * Math.max(1, Math.floor(headDim / featuresPerRound));
  const linesPerRound = linesFor(4 * keys.valueRowBytes, rounds);
  f.for(0, tile.numKeys, 4, (first) => {
    for (let head = 0; head < group; head += 2) {
      const heads = head + 1 < group ? [head, head + 1] : [head];
      const sums = emitFourDots(f, {
        query,
        key: keyAt,
        heads,
        headBytes: queryLen * headDim * 4,
        plan,
        scratch: lanesAt,
        beside: () => values && emitReadAhead(f, values, linesPerRound),
      });
      for (const [i, sum] of sums.entries()) {
        const own = heads[i] ?? 0;
        const scaled = f32x4.mul(sum, params.scale);
        const capped =
          params.softcap === undefined
            ? scaled
            : f32x4.mul(math.tanh(f32x4.mul(scaled, 1 / params.softcap)), params.softcap);
        const biased = biasAt.reduce((score, bias) => f32x4.add(score, bias.load(own)), capped);
        const lane = i32x4.add(i32x4.splat(first), v128.const(Int32Array.of(0, 1, 2, 3)));
        const seen = i32x4.ltS(lane, i32x4.splat(tile.numKeys));
        const masked = v128.bitselect(biased, f32x4.splat(Number.NEGATIVE_INFINITY), seen);
        f.store("v128", scoreAt, masked, own * tileKeys * 4);
      }
    }
    f.increase(keyAt, 4 * headDim * 4);
    f.increase(scoreAt, 16);
    for (const bias of biasAt) bias.next();
  });
}

interface BiasPointer {
  /** The bias of four keys and a head of the group. */
  load(head: number): Value<"v128">;
  next(): void;
}

/** Emits pointers into the biases that follow the keys of a tile. */
function emitBiasPointers(f: FunctionBuilder, { biases }: DecodeUnit, firstKey: Address): BiasPointer[] {
  const { bias, distanceBias } = biases;
  const pointers: BiasPointer[] = [];
  if (bias !== undefined) {
    const at = f.let(i32.add(bias.address, i32.shl(firstKey, 2)));
    pointers.push({
      load: (head) => v128.load(i32.add(at, i32.mul(bias.headBytes, head))),
      next: () => f.increase(at, 16),
    });
  }
  if (distanceBias !== undefined) {
    // Distances fall as keys rise: the vector ends at the first key's distance. Lanes behind the last key are masked later.
    const at = f.let(i32.sub(distanceBias.address, i32.shl(i32.add(firstKey, 3), 2)));
    pointers.push({
      load: (head) => {
        const falling = f.let(v128.load(i32.add(at, i32.mul(distanceBias.headBytes, head))));
        return i32x4.shuffle(falling, falling, [3, 2, 1, 0]);
      },
      next: () => f.increase(at, -16),
    });
  }
  return pointers;
}

/**
 * Emits, for each of one or two heads, the products of its query with four keys, as lanes. The last group of a tile may read
 * up to three rows past the keys: rows of the cache or the guard behind it, never used.
 */
function emitFourDots(f: FunctionBuilder, dots: FourDots): Local<"v128">[] {
  const { query, key, heads, headBytes, plan, scratch, beside } = dots;
  const { headDim } = plan.shape;
  const madd = multiplyAddFor(plan.features);
  // Where the engine joins pairs of vectors, each sum is a pair, whose lanes' sums are stored side by side: it looks for that.
  const width = plan.features.revectorized ? 2 : 1;
  const sums = Array.from({ length: width }, () =>
    heads.map(() => Array.from({ length: 4 }, () => f.let(f32x4.splat(0)))),
  );
  const step = (load: typeof v128.load, offset: number, half: number) => {
    const keys = [0, 1, 2, 3].map((row) => f.let(load(at.key, row * headDim * 4 + offset)));
    for (const [i, head] of heads.entries()) {
      const features = f.let(load(at.query, head * headBytes + offset));
      for (const [row, sum] of (sums[half]?.[i] ?? []).entries())
        f.set(sum, madd(features, keys[row] ?? features, sum));
    }
  };
  const at = { query: f.let(query), key: f.let(key) };
  const rounds = Math.floor(headDim / featuresPerRound);
  if (rounds === 0) beside();
  f.for(0, rounds, 1, () => {
    beside();
    for (let i = 0; i < featuresPerRound; i += 4) step(v128.load, i * 4, (i / 4) % width);
    f.increase(at.query, featuresPerRound * 4);
    f.increase(at.key, featuresPerRound * 4);
  });
  const left = headDim - rounds * featuresPerRound;
  for (let i = 0; i + 4 <= left; i += 4) step(v128.load, i * 4, (i / 4) % width);
  for (let i = left - (left % 4); i < left; i++) step(v128.load32Zero, i * 4, 0);
  const laneSums = sums.map((each) => each.map((four) => emitLaneSums(f, four)));
  if (width === 1) return laneSums.flat();
  const place = (half: number, i: number) => (2 * i + half) * 16;
  for (const i of heads.keys()) {
    for (const [half, each] of laneSums.entries())
      f.store("v128", scratch, each[i] ?? f32x4.splat(0), place(half, i));
  }
  const stored = (half: number, i: number) => v128.load(scratch, place(half, i));
  return heads.map((_, i) => f.let(f32x4.add(stored(0, i), stored(1, i))));
}

interface FourDots {
  readonly query: Address;
  readonly key: Address;
  readonly heads: readonly number[];
  readonly headBytes: number;
  readonly plan: DecodePlan;
  /** Four vectors of memory. */
  readonly scratch: Address;
  /** Runs beside each round of products. */
  readonly beside: () => void;
}

/** Emits the sums of the lanes of four vectors, as one vector. */
function emitLaneSums(f: FunctionBuilder, [a, b, c, d]: readonly Local<"v128">[]): Local<"v128"> {
  const pair = (x: Value<"v128"> | undefined, y: Value<"v128"> | undefined) =>
    f.let(
      f32x4.add(i32x4.shuffle(x ?? 0, y ?? 0, [0, 4, 1, 5]), i32x4.shuffle(x ?? 0, y ?? 0, [2, 6, 3, 7])),
    );
  const ab = pair(a, b);
  const cd = pair(c, d);
  return f.let(f32x4.add(i32x4.shuffle(ab, cd, [0, 1, 4, 5]), i32x4.shuffle(ab, cd, [2, 3, 6, 7])));
}
