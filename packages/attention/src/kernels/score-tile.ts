import {
  type FunctionBuilder,
  f32,
  f32x4,
  i32,
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
  readonly queryBytes: Value<"i32">;
  readonly keyBytes: Value<"i32">;
  /** Neighbouring queries lie side by side, `queryBytes` being 4: whole vectors are read. */
  readonly isPacked?: boolean;
}

/** Emits s += bias, and in the backward pass the other way round with `emitBiasGradient`. */
export function emitBias(f: FunctionBuilder, tile: ScoreTile, bias: BiasView): void {
  if (bias.isPacked === true) {
    // The last vector may reach behind the table: into columns of the tile that hold nothing of use.
    emitPackedBias(f, tile, bias, (score, element) =>
      f.store("v128", score, f32x4.add(v128.load(score), v128.load(element))),
    );
    return;
  }
  emitBiasElements(f, tile, bias, (score, element) =>
    f.store("f32", score, f32.add(f32.load(score), f32.load(element))),
  );
}

/** Emits bias gradient += the tile, for a bias that several pairs share. */
export function emitSharedBiasGradient(f: FunctionBuilder, tile: ScoreTile, bias: BiasView): void {
  emitBiasElements(f, tile, bias, (score, element) =>
    f.store("f32", element, f32.add(f32.load(element), f32.load(score))),
  );
}

/** Emits bias gradient = the tile, for the elements that it covers. */
export function emitBiasGradient(f: FunctionBuilder, tile: ScoreTile, bias: BiasView): void {
  emitBiasElements(f, tile, bias, (score, element) => f.store("f32", element, f32.load(score)));
}

function emitPackedBias(
  f: FunctionBuilder,
  tile: ScoreTile,
  bias: BiasView,
  body: (score: Address, element: Address) => void,
): void {
  const base = f.let(i32.add(bias.address, i32.shl(tile.firstQuery, 2)));
  emitTileRows(f, tile, (row, key) => {
    const score = f.let(row);
    const element = f.let(i32.add(base, i32.mul(key, bias.keyBytes)));
    f.for(0, tile.numQueries, 4, () => {
      body(score, element);
      f.increase(score, 16);
      f.increase(element, 16);
    });
  });
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
