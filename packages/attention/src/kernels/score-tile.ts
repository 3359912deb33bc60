import {
  type FunctionBuilder,
  f32,
  f32x4,
  i32,
  i32x4,
  type LaneMath,
  type Local,
  type Value,
  v128,
} from "@heddle/tensor/kernel";

type Address = Local<"i32">;

/**
 * A tile of scores, transposed: row r is key `firstKey + r`, column c is query `firstQuery + c`, so that a vector holds
 * neighbouring queries and the softmax needs no sums across lanes.
 */
export interface ScoreTile {
  readonly address: Address;
  /** Columns, a multiple of 4; those beyond `numQueries` hold nothing of use. */
  readonly width: number;
  readonly numKeys: Address;
  readonly numQueries: Address;
  readonly firstKey: Address;
  readonly firstQuery: Address;
  /** Position of query 0 minus that of key 0: S - T where both end together. */
  readonly offset: Value<"i32">;
}

/** Distances that a query may look: keys at position - left .. position + right; undefined = any. */
export interface Band {
  readonly left?: number | undefined;
  readonly right?: number | undefined;
}

/** Emits a loop over the rows of a tile; `body` gets the row's address and key index. */
export function emitTileRows(
  f: FunctionBuilder,
  tile: ScoreTile,
  body: (row: Address, key: Address) => void,
): void {
  const row = f.let(tile.address);
  const key = f.let(tile.firstKey);
  f.for(0, tile.numKeys, 1, () => {
    body(row, key);
    f.increase(row, tile.width * 4);
    f.increase(key, 1);
  });
}

/** Emits the range of keys that any query of the tile may see, within 0..numKeys. */
export function emitKeyRange(
  f: FunctionBuilder,
  band: Band,
  {
    firstQuery,
    numQueries,
    offset,
    numKeys,
  }: Pick<ScoreTile, "firstQuery" | "numQueries" | "offset"> & {
    readonly numKeys: Value<"i32">;
  },
): { from: Address; to: Address } {
  const from = f.let(i32.const(0));
  const to = f.let(numKeys);
  const position = i32.add(firstQuery, offset);
  if (band.left !== undefined) {
    f.set(from, i32.sub(position, band.left));
    f.if(i32.ltS(from, 0), () => f.set(from, 0));
  }
  if (band.right !== undefined) {
    const end = f.let(i32.add(i32.add(position, numQueries), band.right));
    f.if(i32.ltS(end, to), () => f.set(to, end));
  }
  return { from, to };
}

/** Emits the band mask: scores outside of it become -infinity. Tiles wholly inside are left alone. */
export function emitBandMask(f: FunctionBuilder, band: Band, tile: ScoreTile): void {
  const { left, right } = band;
  if (left === undefined && right === undefined) return;
  const firstPosition = f.let(i32.add(tile.firstQuery, tile.offset));
  const lastPosition = i32.add(firstPosition, i32.sub(tile.numQueries, 1));
  const lastKey = i32.add(tile.firstKey, i32.sub(tile.numKeys, 1));
  const reachesRight = right === undefined ? i32.const(0) : i32.gtS(lastKey, i32.add(firstPosition, right));
  const reachesLeft = left === undefined ? i32.const(0) : i32.ltS(tile.firstKey, i32.sub(lastPosition, left));
  f.if(i32.or(reachesRight, reachesLeft), () =>
    emitTileRows(f, tile, (row, key) => {
      const distance = f.let(i32.sub(key, firstPosition)); // column c sees this key iff -left <= distance - c <= right
      const first = f.let(i32x4.splat(i32.sub(distance, right ?? 0)));
      const last = f.let(i32x4.splat(i32.add(distance, left ?? 0)));
      for (let c = 0; c < tile.width; c += 4) {
        const column = v128.const(Int32Array.of(c, c + 1, c + 2, c + 3));
        const notTooEarly = right === undefined ? undefined : i32x4.geS(column, first);
        const notTooLate = left === undefined ? undefined : i32x4.leS(column, last);
        const sees =
          notTooEarly && notTooLate ? v128.and(notTooEarly, notTooLate) : (notTooEarly ?? notTooLate);
        if (sees === undefined) continue;
        const masked = v128.bitselect(v128.load(row, c * 4), f32x4.splat(Number.NEGATIVE_INFINITY), sees);
        f.store("v128", row, masked, c * 4);
      }
    }),
  );
}

/** Emits the key mask: rows of keys whose byte is 0 become -infinity. */
export function emitKeyMask(f: FunctionBuilder, keyMask: Value<"i32">, tile: ScoreTile): void {
  const mask = f.let(keyMask);
  emitTileRows(f, tile, (row, key) =>
    f.if(i32.eqz(i32.load8U(i32.add(mask, key))), () => {
      for (let c = 0; c < tile.width; c += 4) {
        f.store("v128", row, f32x4.splat(Number.NEGATIVE_INFINITY), c * 4);
      }
    }),
  );
}

/** Emits whether any key of firstKey .. firstKey + numKeys - 1 may be seen. */
export function emitAnyKey(
  f: FunctionBuilder,
  keyMask: Value<"i32">,
  { firstKey, numKeys }: Pick<ScoreTile, "firstKey" | "numKeys">,
): Local<"i32"> {
  const any = f.let(i32.const(0));
  const at = f.let(i32.add(keyMask, firstKey));
  f.for(0, numKeys, 1, () => {
    f.set(any, i32.or(any, i32.load8U(at)));
    f.increase(at, 1);
  });
  return any;
}

/** Emits the soft cap s -> cap tanh(s / cap); the slope 1 - tanh^2 goes to `slopes` where one is given. */
export function emitSoftcap(
  f: FunctionBuilder,
  tile: ScoreTile,
  { cap, math, slopes }: { cap: number; math: LaneMath; slopes?: Value<"i32"> },
): void {
  const slopeRow = slopes === undefined ? undefined : f.let(slopes);
  emitTileRows(f, tile, (row) => {
    const column = f.let(i32.const(0));
    const at = f.let(row);
    f.advance(column, tile.width, 4, () => {
      const t = math.tanh(f32x4.mul(v128.load(at), 1 / cap));
      f.store("v128", at, f32x4.mul(t, cap));
      if (slopeRow !== undefined) {
        f.store("v128", slopeRow, f32x4.sub(1, f32x4.mul(t, t)));
        f.increase(slopeRow, 16);
      }
      f.increase(at, 16);
    });
  });
}

/** Where the additive bias of the unit's batch row and head lies; strides in bytes. */
export interface BiasView {
  readonly address: Value<"i32">;
  readonly queryBytes: number;
  readonly keyBytes: number;
}

/** Emits s += bias, and in the backward pass the other way round with `emitBiasGradient`. */
export function emitBias(f: FunctionBuilder, tile: ScoreTile, bias: BiasView): void {
  emitBiasElements(f, tile, bias, (score, element) =>
    f.store("f32", score, f32.add(f32.load(score), f32.load(element))),
  );
}

/** Emits bias gradient = the tile, for the elements that it covers. */
export function emitBiasGradient(f: FunctionBuilder, tile: ScoreTile, bias: BiasView): void {
  emitBiasElements(f, tile, bias, (score, element) => f.store("f32", element, f32.load(score)));
}

function emitBiasElements(
  f: FunctionBuilder,
  tile: ScoreTile,
  bias: BiasView,
  body: (score: Address, element: Address) => void,
): void {
  const base = f.let(i32.add(bias.address, i32.mul(tile.firstQuery, bias.queryBytes)));
  emitTileRows(f, tile, (row, key) => {
    const score = f.let(row);
    const element = f.let(i32.add(base, i32.mul(key, bias.keyBytes)));
    f.for(0, tile.numQueries, 1, () => {
      body(score, element);
      f.increase(score, 4);
      f.increase(element, bias.queryBytes);
    });
  });
}
