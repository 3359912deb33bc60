import {
  type CpuFeatures,
  type FunctionBuilder,
  f32x4,
  i32,
  type Local,
  type Value,
  v128,
} from "@heddle/tensor/kernel";

type Address = Local<"i32">;
type Lanes = Value<"v128">;

/** `a * b + c`, with one rounding where the machine offers it. */
export type MultiplyAdd = (a: Lanes, b: Lanes, c: Lanes) => Lanes;

export function multiplyAddFor(features: CpuFeatures): MultiplyAdd {
  return features.relaxedSimd ? f32x4.relaxedMadd : (a, b, c) => f32x4.add(f32x4.mul(a, b), c);
}

/** Registers and arithmetic that the products of one kernel share. */
export interface MatmulRegisters {
  readonly madd: MultiplyAdd;
  /** Widest block of columns: 16 where the engine joins pairs of vectors, else 8 (more would spill). */
  readonly maxColumns: 8 | 16;
  readonly accumulators: readonly Local<"v128">[];
}

const blockRows = 6;

export function matmulRegisters(f: FunctionBuilder, features: CpuFeatures): MatmulRegisters {
  const maxColumns = features.revectorized ? 16 : 8;
  return {
    madd: multiplyAddFor(features),
    maxColumns,
    accumulators: Array.from({ length: (blockRows * maxColumns) / 4 }, () => f.local("v128")),
  };
}

/** A matrix in memory: element (row, column) lies at `address + row * rowBytes + column * columnBytes`. */
export interface StridedMatrix {
  readonly address: Value<"i32">;
  readonly rowBytes: number;
  readonly columnBytes: number;
}

/** A matrix whose rows are contiguous. */
export interface RowMatrix {
  readonly address: Value<"i32">;
  readonly rowBytes: number;
}

export interface TileProduct {
  /** [rows, depth] */
  readonly a: StridedMatrix;
  /** [depth, columns] */
  readonly b: RowMatrix;
  /** [rows, columns] */
  readonly c: RowMatrix;
  readonly rows: Address;
  /** At least 1; a number, where it is known when the code is emitted: a multiple of four. */
  readonly depth: Address | number;
  readonly columns: number;
  /** Adds to C instead of setting it. */
  readonly accumulates: boolean;
  /** Shape of the register blocks, largest first; the last row block and column block must be 1. */
  readonly blocks?: { readonly rows: readonly number[]; readonly columns: readonly number[] };
  /** Other work beside blocks of so many columns, where the depth is a number. */
  readonly beside?: ((width: number) => BesideBlock) | undefined;
}

/** Work beside the products of a block, in rounds of four depths. */
export interface BesideBlock {
  /** Emits what belongs to one of so many depths of a round. */
  emit(depth: number, depths: number): void;
  /** Emits the move to the next round. */
  next(): void;
}

/**
 * Emits C = A B or C += A B for one tile: f32, any strides known when the code is emitted, rows and depth at run time.
 *
 * Blocks of 6 rows x 16 (or 8) columns stay in registers over the whole depth; rests of rows go one by one, rests of
 * columns in blocks of 8, 4 and 1. `depth` must be at least 1.
 */
export function emitTileMatmul(f: FunctionBuilder, registers: MatmulRegisters, product: TileProduct): void {
  const a = f.let(product.a.address);
  const b = f.let(product.b.address);
  const c = f.let(product.c.address);
  const emitColumns = (width: number, beside: BesideBlock | undefined): void => {
    const row = f.let(i32.const(0));
    const aRow = f.let(a);
    const cRow = f.let(c);
    for (const rows of product.blocks?.rows ?? [blockRows, 1]) {
      f.advance(row, i32.sub(product.rows, rows - 1), rows, () => {
        emitBlock(f, registers, { product, rows, width, a: aRow, b, c: cRow, beside });
        f.increase(aRow, rows * product.a.rowBytes);
        f.increase(cRow, rows * product.c.rowBytes);
      });
    }
  };
  let left = product.columns;
  for (const width of product.blocks?.columns ?? [registers.maxColumns, 8, 4, 1]) {
    const count = Math.floor(left / width);
    left -= count * width;
    if (count === 0) continue;
    const beside = product.beside?.(width);
    f.for(0, count, 1, () => {
      emitColumns(width, beside);
      f.increase(b, width * 4);
      f.increase(c, width * 4);
    });
  }
}

interface Block {
  readonly product: TileProduct;
  readonly rows: number;
  readonly width: number;
  readonly a: Address;
  readonly b: Address;
  readonly c: Address;
  readonly beside: BesideBlock | undefined;
}

/** One block of C in registers: for each depth, a row of B against every row of A. */
function emitBlock(f: FunctionBuilder, registers: MatmulRegisters, block: Block): void {
  const { product, rows, width, c } = block;
  const vectors = Math.ceil(width / 4);
  const accumulators = registers.accumulators.slice(0, rows * vectors);
  const offsetOf = (index: number) =>
    Math.floor(index / vectors) * product.c.rowBytes + (index % vectors) * 16;
  const load = width === 1 ? v128.load32Zero : v128.load;
  for (const [index, accumulator] of accumulators.entries()) {
    f.set(accumulator, product.accumulates ? load(c, offsetOf(index)) : f32x4.splat(0));
  }
  emitDepths(f, registers.madd, { ...block, accumulators });
  // From the last to the first: the engine joins a pair of stores at its second half, and leaves a first that came before.
  for (const [index, accumulator] of [...accumulators.entries()].reverse()) {
    if (width === 1) f.storeLane(32, c, accumulator, { lane: 0, byteOffset: offsetOf(index) });
    else f.store("v128", c, accumulator, offsetOf(index));
  }
}

const unroll = 4;

function emitDepths(
  f: FunctionBuilder,
  madd: MultiplyAdd,
  {
    product,
    rows,
    width,
    a,
    b,
    beside,
    accumulators,
  }: Block & { readonly accumulators: readonly Local<"v128">[] },
): void {
  const vectors = Math.ceil(width / 4);
  const load = width === 1 ? v128.load32Zero : v128.load;
  const aAt = f.let(a);
  const bAt = f.let(b);
  const emitStep = (k: number) => {
    const bRow = Array.from({ length: vectors }, (_, v) => f.let(load(bAt, k * product.b.rowBytes + v * 16)));
    for (let row = 0; row < rows; row++) {
      const scalar = f.let(v128.load32Splat(aAt, row * product.a.rowBytes + k * product.a.columnBytes));
      for (const [v, vector] of bRow.entries()) {
        const accumulator = accumulators[row * vectors + v];
        if (accumulator !== undefined) f.set(accumulator, madd(scalar, vector, accumulator));
      }
    }
  };
  const { depth } = product;
  if (typeof depth === "number") {
    f.for(0, depth / unroll, 1, () => {
      for (let k = 0; k < unroll; k++) {
        beside?.emit(k, unroll);
        emitStep(k);
      }
      beside?.next();
      f.increase(aAt, unroll * product.a.columnBytes);
      f.increase(bAt, unroll * product.b.rowBytes);
    });
    return;
  }
  const left = f.let(depth);
  for (const depths of [unroll, 1]) {
    f.while(i32.geS(left, depths), () => {
      for (let k = 0; k < depths; k++) emitStep(k);
      f.increase(aAt, depths * product.a.columnBytes);
      f.increase(bAt, depths * product.b.rowBytes);
      f.increase(left, -depths);
    });
  }
}
