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
import type { DecodePlan, DecodeUnit } from "./decode.wasm.js";
import type { KeyRows } from "./flash-forward.wasm.js";
import { multiplyAddFor } from "./tile-matmul.js";

type Address = Local<"i32">;

/** Keys that are scored before their values are read: both tiles stay in the second-level cache. */
export const tileKeys = 128;

/** A tile of keys under way: its rows in memory and its place among the keys. */
export interface DecodeTile {
  readonly rows: KeyRows;
  readonly firstKey: Address;
  readonly numKeys: Address;
}

/** Emits the scores of a tile of keys for every head of the group; four keys at a time, lanes along the features. */
export function emitKeyScores(
  f: FunctionBuilder,
  unit: DecodeUnit,
  tile: DecodeTile,
  /** Runs beside each four keys, once for each part of the heads. */
  beside: (first: Address, part: { readonly index: number; readonly count: number }) => void,
): void {
  const { plan, query, scores } = unit;
  const { shape, group, params, features } = plan;
  const { headDim, queryLen } = shape;
  const math = laneMath(f, features);
  const keyAt = f.let(tile.rows.key);
  const scoreAt = f.let(scores);
  const biasAt = emitBiasPointers(f, unit, tile.firstKey);
  f.for(0, tile.numKeys, 4, (first) => {
    for (let head = 0; head < group; head += 2) {
      const heads = head + 1 < group ? [head, head + 1] : [head];
      beside(first, { index: head / 2, count: Math.ceil(group / 2) });
      const sums = emitFourDots(f, { query, key: keyAt, heads, headBytes: queryLen * headDim * 4, plan });
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

const lineBytes = 64;

/** Streams of a unit: where rows begin and how long they are. */
function streamsOf({ plan, keys }: DecodeUnit, rows: KeyRows): { address: Address; rowBytes: number }[] {
  const stream = { address: rows.key, rowBytes: plan.shape.headDim * 4 };
  return rows.value === rows.key ? [stream] : [stream, { address: rows.value, rowBytes: keys.valueRowBytes }];
}

/**
 * Emits a read of one word of each cache line of a tile of keys and values, in order: the machine fetches ahead of a plain
 * stream, but not of the products, which walk several rows at once.
 */
export function emitTouchTile(f: FunctionBuilder, unit: DecodeUnit, { rows, numKeys }: DecodeTile): void {
  const word = f.let(i32.const(0));
  for (const { address, rowBytes } of streamsOf(unit, rows)) {
    const at = f.let(address);
    const end = f.let(i32.add(at, i32.mul(numKeys, rowBytes)));
    f.advance(at, end, 4 * lineBytes, () => {
      for (let line = 0; line < 4; line++) f.set(word, i32.or(word, i32.load(at, line * lineBytes)));
    });
  }
  emitKeep(f, unit, word);
}

/** As `emitTouchTile`, four rows at a time and one tile ahead: memory is read while the tile before it is computed. */
export function emitTouchAhead(
  f: FunctionBuilder,
  unit: DecodeUnit,
  {
    tile,
    to,
    first,
    part,
  }: {
    readonly tile: DecodeTile;
    readonly to: Address;
    readonly first: Address;
    /** Which share of the lines is read now. */
    readonly part: { readonly index: number; readonly count: number };
  },
): void {
  const ahead = f.let(i32.add(first, tileKeys));
  f.if(i32.leS(i32.add(i32.add(tile.firstKey, ahead), 4), to), () => {
    const word = f.let(i32.const(0));
    for (const { address, rowBytes } of streamsOf(unit, tile.rows)) {
      const at = f.let(i32.add(address, i32.mul(ahead, rowBytes)));
      const lines = Math.ceil((4 * rowBytes) / lineBytes);
      const [begin, end] = [part.index, part.index + 1].map((n) => Math.floor((n * lines) / part.count));
      for (let line = begin ?? 0; line < (end ?? 0); line++) {
        const offset = line * lineBytes;
        f.set(word, i32.or(word, i32.load(at, offset)));
      }
    }
    emitKeep(f, unit, word);
  });
}

/** Emits a store that keeps the reads of a touch alive. */
function emitKeep(f: FunctionBuilder, { plan, scores }: DecodeUnit, word: Address): void {
  f.store("i32", scores, word, plan.group * tileKeys * 4);
}

/**
 * Emits, for each of one or two heads, the products of its query with four keys, as lanes. The last group of a tile may read
 * up to three rows past the keys: rows of the cache or the guard behind it, never used.
 */
function emitFourDots(
  f: FunctionBuilder,
  {
    query,
    key,
    heads,
    headBytes,
    plan,
  }: { query: Address; key: Address; heads: readonly number[]; headBytes: number; plan: DecodePlan },
): Local<"v128">[] {
  const { headDim } = plan.shape;
  const madd = multiplyAddFor(plan.features);
  const sums = heads.map(() => [0, 1, 2, 3].map(() => f.let(f32x4.splat(0))));
  const step = (load: typeof v128.load, offset: number, at: { query: Address; key: Address }) => {
    const keys = [0, 1, 2, 3].map((row) => f.let(load(at.key, row * headDim * 4 + offset)));
    for (const [i, head] of heads.entries()) {
      const features = f.let(load(at.query, head * headBytes + offset));
      for (const [row, sum] of (sums[i] ?? []).entries())
        f.set(sum, madd(features, keys[row] ?? features, sum));
    }
  };
  const at = { query: f.let(query), key: f.let(key) };
  const unroll = 4;
  const rounds = Math.floor(headDim / (4 * unroll));
  f.for(0, rounds, 1, () => {
    for (let i = 0; i < unroll; i++) step(v128.load, i * 16, at);
    f.increase(at.query, unroll * 16);
    f.increase(at.key, unroll * 16);
  });
  const left = headDim - rounds * 4 * unroll;
  for (let i = 0; i + 4 <= left; i += 4) step(v128.load, i * 4, at);
  for (let i = left - (left % 4); i < left; i++) step(v128.load32Zero, i * 4, at);
  return sums.map((four) => emitLaneSums(f, four));
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
