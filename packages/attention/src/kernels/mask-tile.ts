import {
  type FunctionBuilder,
  f32x4,
  i32,
  i32x4,
  type Local,
  select,
  type Value,
  v128,
} from "@heddle/tensor/kernel";
import type { MaskRule } from "../mask-rule.js";
import { emitTileRows, type ScoreTile } from "./score-tile.js";

type Address = Local<"i32">;
type Flag = Value<"i32">;

/** What the rules of one unit read: the mask's tensors, and where the unit stands in them. */
export interface MaskView {
  readonly rule: MaskRule;
  readonly inputs: readonly Address[];
  readonly batchRow: Value<"i32">;
  readonly head: Value<"i32">;
  readonly numHeads: number;
  readonly queryLen: Value<"i32">;
  readonly keyLen: Value<"i32">;
}

/** Queries and keys that a tile spans, without its scores. */
export type TileRange = Omit<ScoreTile, "address" | "width">;

interface TileBounds {
  readonly firstQuery: Address;
  readonly lastQuery: Address;
  readonly firstPosition: Address;
  readonly lastPosition: Address;
  readonly firstKey: Address;
  readonly lastKey: Address;
}

/** What is known of a whole tile: `any` false = nothing is seen, `all` true = everything is seen. */
interface TileState {
  readonly any: Flag;
  readonly all: Flag;
}

/** Emits whether a tile has a seen key, and whether all of it is seen. */
export function emitTileState(f: FunctionBuilder, view: MaskView, tile: TileRange): TileState {
  const lastQuery = f.let(i32.sub(i32.add(tile.firstQuery, tile.numQueries), 1));
  const bounds: TileBounds = {
    firstQuery: tile.firstQuery,
    lastQuery,
    firstPosition: f.let(i32.add(tile.firstQuery, tile.offset)),
    lastPosition: f.let(i32.add(lastQuery, tile.offset)),
    firstKey: tile.firstKey,
    lastKey: f.let(i32.sub(i32.add(tile.firstKey, tile.numKeys), 1)),
  };
  return emitRuleState(f, view, view.rule, bounds);
}

function emitRuleState(f: FunctionBuilder, view: MaskView, rule: MaskRule, tile: TileBounds): TileState {
  const keep = ({ any, all }: TileState) => ({ any: f.let(any), all: f.let(all) });
  switch (rule.kind) {
    case "band":
      return keep(bandState(rule, tile));
    case "chunk":
      return keep(chunkState(f, rule.size, tile));
    case "firstKeys":
      return belowState(f, i32.const(rule.count), tile);
    case "keysBelow":
      return belowState(f, loadRow(view, rule.input), tile);
    case "stride":
      return keep(strideState(rule.period, view, tile));
    case "columns":
      return emitFold(f, tile.firstKey, tile.lastKey, (key) => inColumns(rule, key));
    case "keys": {
      const mask = f.let(i32.add(inputAt(view, rule.input), i32.mul(view.batchRow, view.keyLen)));
      return emitFold(f, tile.firstKey, tile.lastKey, (key) => i32.load8U(i32.add(mask, key)));
    }
    case "queries": {
      const mask = f.let(i32.add(inputAt(view, rule.input), i32.mul(view.batchRow, view.queryLen)));
      return emitFold(f, tile.firstQuery, tile.lastQuery, (query) => i32.load8U(i32.add(mask, query)));
    }
    case "documents":
      return emitDocumentState(f, view, rule.input, tile);
    case "blocks": {
      const { rows, row } = blockGrid(f, view, rule);
      const first = f.let(i32.divU(tile.firstQuery, rule.size));
      const last = f.let(i32.divU(tile.lastQuery, rule.size));
      return emitFold2(f, { first, last }, (block) => {
        const at = f.let(i32.add(rows, i32.mul(block, row)));
        const [from, to] = [i32.divU(tile.firstKey, rule.size), i32.divU(tile.lastKey, rule.size)];
        return emitFold(f, f.let(from), f.let(to), (column) => i32.load8U(i32.add(at, column)));
      });
    }
    case "dense": {
      const matrix = f.let(denseMatrix(view, rule));
      return emitFold2(f, { first: tile.firstQuery, last: tile.lastQuery }, (query) => {
        const at = f.let(i32.add(matrix, i32.mul(query, view.keyLen)));
        return emitFold(f, tile.firstKey, tile.lastKey, (key) => i32.load8U(i32.add(at, key)));
      });
    }
    case "all":
    case "any": {
      const both = rule.kind === "all" ? i32.and : i32.or;
      const parts = rule.rules.map((part) => emitRuleState(f, view, part, tile));
      return keep(parts.reduce((a, b) => ({ any: both(a.any, b.any), all: both(a.all, b.all) })));
    }
    default:
      return rule satisfies never;
  }
}

function bandState({ left, right }: Extract<MaskRule, { kind: "band" }>, tile: TileBounds): TileState {
  const { firstPosition, lastPosition, firstKey, lastKey } = tile;
  const yes = i32.const(1);
  const anyRight = right === undefined ? yes : i32.leS(firstKey, i32.add(lastPosition, right));
  const allRight = right === undefined ? yes : i32.leS(lastKey, i32.add(firstPosition, right));
  const anyLeft = left === undefined ? yes : i32.geS(lastKey, i32.sub(firstPosition, left));
  const allLeft = left === undefined ? yes : i32.geS(firstKey, i32.sub(lastPosition, left));
  return { any: i32.and(anyRight, anyLeft), all: i32.and(allRight, allLeft) };
}

function chunkState(f: FunctionBuilder, size: number, tile: TileBounds): TileState {
  const chunk = (position: Address) => f.let(floorDivide(position, size));
  const queries = { first: chunk(tile.firstPosition), last: chunk(tile.lastPosition) };
  const keys = { first: chunk(tile.firstKey), last: chunk(tile.lastKey) };
  return {
    any: i32.and(i32.leS(keys.first, queries.last), i32.geS(keys.last, queries.first)),
    all: i32.and(i32.eq(keys.first, queries.last), i32.eq(keys.last, queries.first)),
  };
}

/** floor(x / size) for x >= -2^30, which may be negative where there are more queries than keys. */
function floorDivide(x: Value<"i32">, size: number): Value<"i32"> {
  const blocks = Math.ceil(2 ** 30 / size);
  return i32.sub(i32.divU(i32.add(x, blocks * size), size), blocks);
}

function belowState(f: FunctionBuilder, limit: Value<"i32">, tile: TileBounds): TileState {
  const end = f.let(limit);
  return { any: f.let(i32.ltS(tile.firstKey, end)), all: f.let(i32.ltS(tile.lastKey, end)) };
}

function strideState(period: number, _: MaskView, tile: TileBounds): TileState {
  const most = i32.sub(tile.lastPosition, tile.firstKey);
  const least = i32.sub(tile.firstPosition, tile.lastKey);
  const multiple = i32.mul(floorDivide(most, period), period); // the greatest one up to `most`
  return { any: i32.geS(multiple, least), all: i32.const(period === 1 ? 1 : 0) };
}

function inColumns(
  { period, count }: Extract<MaskRule, { kind: "columns" }>,
  key: Value<"i32">,
): Value<"i32"> {
  return i32.geU(i32.remU(key, period), period - count);
}

/** Emits the ranges of ids on both sides: without a common id nothing is seen. Negative ids count on neither. */
function emitDocumentState(f: FunctionBuilder, view: MaskView, input: number, tile: TileBounds): TileState {
  const ids = f.let(i32.add(inputAt(view, input), i32.shl(i32.mul(view.batchRow, view.keyLen), 2)));
  const range = (first: Address, last: Address) => {
    const at = f.let(i32.add(ids, i32.shl(first, 2)));
    const [least, most, signs] = [f.let(i32.const(-1)), f.let(i32.const(-1)), f.let(i32.const(0))];
    f.for(first, i32.add(last, 1), 1, () => {
      const id = f.let(i32.load(at));
      f.set(least, select(i32.ltU(id, least), id, least)); // unsigned: negative ids are greater than all others
      f.set(most, select(i32.gtS(id, most), id, most));
      f.set(signs, i32.or(signs, id));
      f.increase(at, 4);
    });
    return { least, most, signs };
  };
  const queries = range(tile.firstPosition, tile.lastPosition);
  const keys = range(tile.firstKey, tile.lastKey);
  const isOne = i32.and(i32.eq(queries.least, keys.most), i32.eq(queries.most, keys.least));
  const hasNone = i32.ltS(i32.or(queries.signs, keys.signs), 0);
  return {
    any: f.let(
      i32.and(
        i32.and(i32.leU(keys.least, queries.most), i32.geU(keys.most, queries.least)),
        i32.geS(queries.most, 0),
      ),
    ),
    all: f.let(i32.and(i32.and(isOne, i32.eq(keys.least, keys.most)), i32.eqz(hasNone))),
  };
}

/** Emits or and and of flags over first..last. */
function emitFold(
  f: FunctionBuilder,
  first: Address,
  last: Address,
  flag: (index: Address) => Value<"i32">,
): TileState {
  const any = f.let(i32.const(0));
  const all = f.let(i32.const(1));
  f.for(first, i32.add(last, 1), 1, (index) => {
    const one = f.let(flag(index));
    f.set(any, i32.or(any, one));
    f.set(all, i32.and(all, one));
  });
  return { any, all };
}

/** Emits or and and of rows of flags. */
function emitFold2(
  f: FunctionBuilder,
  { first, last }: { readonly first: Address; readonly last: Address },
  row: (index: Address) => TileState,
): TileState {
  const any = f.let(i32.const(0));
  const all = f.let(i32.const(1));
  f.for(first, i32.add(last, 1), 1, (index) => {
    const state = row(index);
    f.set(any, i32.or(any, state.any));
    f.set(all, i32.and(all, state.all));
  });
  return { any, all };
}

/** Emits the mask of a tile: scores that are not seen become -infinity. */
export function emitMask(f: FunctionBuilder, view: MaskView, tile: ScoreTile): void {
  emitTileRows(f, tile, (row, key) => {
    const lanes = emitRowLanes(f, view, { tile, key }, view.rule);
    f.for(0, tile.width, 4, (column) => {
      const at = f.let(i32.add(row, i32.shl(column, 2)));
      const masked = v128.bitselect(v128.load(at), f32x4.splat(Number.NEGATIVE_INFINITY), lanes(column));
      f.store("v128", at, masked);
    });
  });
}

interface RowPlace {
  readonly tile: ScoreTile;
  readonly key: Address;
}

/** Emits what a rule needs once a key; gives the lanes of four queries from `column` on. */
function emitRowLanes(
  f: FunctionBuilder,
  view: MaskView,
  { tile, key }: RowPlace,
  rule: MaskRule,
): (column: Address) => Value<"v128"> {
  const everyQuery = (flag: Value<"i32">) => {
    const lanes = f.let(i32x4.splat(i32.sub(0, i32.ne(flag, 0))));
    return () => lanes;
  };
  const laneNumbers = v128.const(Int32Array.of(0, 1, 2, 3));
  const positions = (column: Address) =>
    i32x4.add(i32x4.splat(i32.add(i32.add(tile.firstQuery, tile.offset), column)), laneNumbers);
  switch (rule.kind) {
    case "band":
      return emitBandLanes(f, rule, { key, positions });
    case "chunk": {
      const first = f.let(i32x4.splat(i32.sub(key, i32.remU(key, rule.size))));
      const end = f.let(i32x4.add(first, rule.size));
      return (column) => {
        const at = f.let(positions(column));
        return v128.and(i32x4.geS(at, first), i32x4.ltS(at, end));
      };
    }
    case "firstKeys":
      return everyQuery(i32.ltS(key, rule.count));
    case "keysBelow":
      return everyQuery(i32.ltS(key, loadRow(view, rule.input)));
    case "stride":
      return (column) =>
        emitStrideLanes(
          f,
          rule.period,
          f.let(i32.sub(i32.add(i32.add(tile.firstQuery, tile.offset), column), key)),
        );
    case "columns":
      return everyQuery(inColumns(rule, key));
    case "keys":
      return everyQuery(
        i32.load8U(i32.add(i32.add(inputAt(view, rule.input), i32.mul(view.batchRow, view.keyLen)), key)),
      );
    case "queries":
    case "documents":
    case "blocks":
    case "dense":
      return emitTensorLanes(f, view, { tile, key }, rule);
    case "all":
    case "any": {
      const join = (a: Value<"v128">, b: Value<"v128">) =>
        rule.kind === "all" ? v128.and(a, b) : v128.or(a, b);
      const parts = rule.rules.map((part) => emitRowLanes(f, view, { tile, key }, part));
      return (column) => parts.map((part): Value<"v128"> => f.let(part(column))).reduce(join);
    }
    default:
      return rule satisfies never;
  }
}

/** Emits lanes of the masks whose tensors differ from query to query. */
function emitTensorLanes(
  f: FunctionBuilder,
  view: MaskView,
  { tile, key }: RowPlace,
  rule: Extract<MaskRule, { kind: "queries" | "documents" | "blocks" | "dense" }>,
): (column: Address) => Value<"v128"> {
  const queryAt = (column: Address) => i32.add(tile.firstQuery, column);
  // Columns behind the last query hold nothing of use: they read its flags instead of what lies behind the mask.
  const clampedQuery = (column: Address, lane: number) => {
    const query = f.let(i32.add(queryAt(column), lane));
    return select(i32.ltS(query, view.queryLen), query, i32.sub(view.queryLen, 1));
  };
  switch (rule.kind) {
    case "queries": {
      const mask = f.let(i32.add(inputAt(view, rule.input), i32.mul(view.batchRow, view.queryLen)));
      return (column) => emitFourFlags(f, (lane) => i32.load8U(i32.add(mask, queryAt(column)), lane));
    }
    case "documents": {
      const ids = f.let(i32.add(inputAt(view, rule.input), i32.shl(i32.mul(view.batchRow, view.keyLen), 2)));
      const own = f.let(i32.load(i32.add(ids, i32.shl(key, 2))));
      const wanted = f.let(i32x4.splat(own));
      const exists = f.let(i32x4.splat(i32.sub(0, i32.geS(own, 0))));
      return (column) => {
        const at = i32.add(ids, i32.shl(i32.add(queryAt(column), tile.offset), 2));
        return v128.and(i32x4.eq(v128.load(at), wanted), exists);
      };
    }
    case "blocks": {
      const { rows, row } = blockGrid(f, view, rule);
      const at = f.let(i32.add(rows, i32.divU(key, rule.size)));
      const flag = (query: Value<"i32">) => i32.load8U(i32.add(at, i32.mul(i32.divU(query, rule.size), row)));
      return (column) => {
        // Tiles begin at multiples of 16 queries: four neighbours share a block.
        if (rule.size % 4 === 0) return i32x4.splat(i32.sub(0, i32.ne(flag(clampedQuery(column, 0)), 0)));
        return emitFourFlags(f, (lane) => flag(clampedQuery(column, lane)));
      };
    }
    case "dense": {
      const at = f.let(i32.add(denseMatrix(view, rule), key));
      return (column) =>
        emitFourFlags(f, (lane) => i32.load8U(i32.add(at, i32.mul(clampedQuery(column, lane), view.keyLen))));
    }
    default:
      return rule satisfies never;
  }
}

function emitBandLanes(
  f: FunctionBuilder,
  { left, right }: Extract<MaskRule, { kind: "band" }>,
  { key, positions }: { readonly key: Address; readonly positions: (column: Address) => Value<"v128"> },
): (column: Address) => Value<"v128"> {
  const first = f.let(i32x4.splat(i32.sub(key, right ?? 0)));
  const last = f.let(i32x4.splat(i32.add(key, left ?? 0)));
  return (column) => {
    const at = f.let(positions(column));
    const notTooEarly = right === undefined ? undefined : i32x4.geS(at, first);
    const notTooLate = left === undefined ? undefined : i32x4.leS(at, last);
    if (notTooEarly && notTooLate) return v128.and(notTooEarly, notTooLate);
    return notTooEarly ?? notTooLate ?? i32x4.splat(-1);
  };
}

/** Emits whether distance, distance + 1, .. + 3 are multiples of the period. */
function emitStrideLanes(f: FunctionBuilder, period: number, distance: Address): Value<"v128"> {
  const rest = f.let(i32.sub(distance, i32.mul(floorDivide(distance, period), period)));
  const rests = f.let(i32x4.add(i32x4.splat(rest), v128.const(Int32Array.of(0, 1, 2, 3))));
  let seen: Value<"v128"> = i32x4.eq(rests, 0);
  for (let multiple = period; multiple < period + 3; multiple += period) {
    seen = v128.or(seen, i32x4.eq(rests, multiple));
  }
  return seen;
}

function emitFourFlags(f: FunctionBuilder, flag: (lane: number) => Value<"i32">): Value<"v128"> {
  const lanes = f.let(i32x4.splat(flag(0)));
  for (const lane of [1, 2, 3]) f.set(lanes, i32x4.replace(lanes, lane, flag(lane)));
  return i32x4.ne(lanes, 0);
}

function inputAt({ inputs }: MaskView, input: number): Address {
  return inputs[input] as Address;
}

function loadRow(view: MaskView, input: number): Value<"i32"> {
  return i32.load(i32.add(inputAt(view, input), i32.shl(view.batchRow, 2)));
}

/** Address of a head's layout and bytes of its rows. */
function blockGrid(
  f: FunctionBuilder,
  view: MaskView,
  { input, size, perHead }: Extract<MaskRule, { kind: "blocks" }>,
): { readonly rows: Address; readonly row: Address } {
  const blocks = (length: Value<"i32">) => i32.divU(i32.add(length, size - 1), size);
  const row = f.let(blocks(view.keyLen));
  const matrix = i32.mul(row, blocks(view.queryLen));
  const base = inputAt(view, input);
  return { row, rows: f.let(perHead ? i32.add(base, i32.mul(view.head, matrix)) : base) };
}

function denseMatrix(
  view: MaskView,
  { input, perBatch, perHead }: Extract<MaskRule, { kind: "dense" }>,
): Value<"i32"> {
  const { batchRow, head, numHeads, queryLen, keyLen } = view;
  const heads = perHead ? numHeads : 1;
  const index = i32.add(i32.mul(perBatch ? batchRow : i32.const(0), heads), perHead ? head : 0);
  return i32.add(inputAt(view, input), i32.mul(index, i32.mul(queryLen, keyLen)));
}

/** Emits the keys that any query of a tile may see, within 0..numKeys: what bands, chunks and prefixes leave. */
export function emitKeyRange(
  f: FunctionBuilder,
  view: MaskView | undefined,
  range: Pick<TileBounds, "firstPosition" | "lastPosition"> & { readonly numKeys: Value<"i32"> },
): { readonly from: Address; readonly to: Address } {
  const whole = () => ({ from: f.let(i32.const(0)), to: f.let(range.numKeys) });
  const clamp = (from: Value<"i32">, to: Value<"i32">) => {
    const bounds = { from: f.let(from), to: f.let(to) };
    f.if(i32.ltS(bounds.from, 0), () => f.set(bounds.from, 0));
    f.if(i32.gtS(bounds.to, range.numKeys), () => f.set(bounds.to, range.numKeys));
    return bounds;
  };
  const bounds = (rule: MaskRule): { readonly from: Address; readonly to: Address } => {
    const { firstPosition, lastPosition } = range;
    switch (rule.kind) {
      case "band":
        return clamp(
          rule.left === undefined ? i32.const(0) : i32.sub(firstPosition, rule.left),
          rule.right === undefined ? range.numKeys : i32.add(i32.add(lastPosition, rule.right), 1),
        );
      case "chunk":
        return clamp(
          i32.mul(floorDivide(firstPosition, rule.size), rule.size),
          i32.mul(i32.add(floorDivide(lastPosition, rule.size), 1), rule.size),
        );
      case "firstKeys":
        return clamp(i32.const(0), i32.const(rule.count));
      case "keysBelow":
        return view === undefined ? whole() : clamp(i32.const(0), loadRow(view, rule.input));
      case "all":
      case "any": {
        const isAll = rule.kind === "all";
        return rule.rules.map(bounds).reduce((a, b) => {
          const fromLater = i32.gtS(a.from, b.from);
          const toLater = i32.gtS(a.to, b.to);
          return {
            from: f.let(isAll ? select(fromLater, a.from, b.from) : select(fromLater, b.from, a.from)),
            to: f.let(isAll ? select(toLater, b.to, a.to) : select(toLater, a.to, b.to)),
          };
        });
      }
      default:
        return whole();
    }
  };
  return view === undefined ? whole() : bounds(view.rule);
}
