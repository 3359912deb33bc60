import type { DType } from "../../dtype.js";
import type { OpCall } from "../../op.js";
import type { WgslFeatures } from "../kernel.js";
import type { StepParam } from "../step.js";

/**
 * A product y = x W^T for few rows of x as a piece of a larger kernel: what an op that multiplies by a weight offers, so that
 * the norm before it and what happens to its result can be part of the same launch.
 */
export interface ProductPiece {
  /** Rows of x that a workgroup takes: M, or fewer where several workgroups share them. */
  readonly rows: number;
  /** Workgroups that share the rows, neighbours, so that the weight comes from the cache for all but the first. */
  readonly rowBlocks: number;
  /** Inputs K and outputs N of the weight. */
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** Neighbouring outputs that are made together: even. */
  readonly unit: number;
  /** Units that a workgroup should make together where nothing else decides. */
  readonly unitsPerTile: number;
  /** Threads of a workgroup. */
  readonly threads: number;
  /** Weights of equal format and extents can be multiplied by one workgroup. */
  readonly format: string;
  /** How x is read: vectors of 4 or 8 elements. */
  readonly xWidth: 4 | 8;
  /** The weight's buffers; their names in WGSL begin with that of the weight. */
  readonly buffers: readonly PieceBuffer[];
  /** Numbers that the text reads as `P.WEIGHT_NAME`. */
  readonly params: Readonly<Record<string, StepParam>>;
  /** Writes the product of some units of outputs; undefined where it does not fit the adapter. */
  write(task: ProductTask): ProductText | undefined;
}

export interface PieceBuffer {
  readonly name: string;
  /** Which input of the op. */
  readonly input: number;
  readonly dtype: DType;
  readonly element: string;
}

/** How a row of x becomes what is multiplied. `P.eps` and `P.offset` are numbers of the norm. */
export type ProductNorm = "none" | "rms" | "layer";

/**
 * What a writer finds in WGSL: `thread`; `firstTile`, the first tile of this workgroup; the workgroup array `results`; for
 * vectors of x (`vec4f`, or `Eight` with .low and .high) `x_at(m, c)`: vector c of the workgroup's row m, of which "layer" is already part;
 * with "rms" `gain_at(c)`: the vector that multiplies it, and P.eps, the row's scale being up to the writer.
 */
export interface ProductTask {
  /** What a tile makes: units by the name of the weight and a WGSL expression (u32) of `tile`. */
  readonly slots: readonly { readonly weight: string; readonly unit: string }[];
  readonly threads: number;
  readonly norm: ProductNorm;
  readonly features: WgslFeatures;
  /**
   * Statements for all threads that take the results on: element j of unit s of tile i (from `firstTile` on) and row m is
   * results[((i * slots + s) * M + m) * unit + j]. They begin with a barrier.
   */
  epilogue(tiles: number): string;
}

export interface ProductText {
  readonly enable: string;
  /** Declarations at module scope; equal ones are written once. */
  readonly declarations: readonly string[];
  /** Tiles of one workgroup. */
  readonly tiles: number;
  readonly body: string;
}

/** Describes the product of an op call, or undefined where there is none for its types. Input 0 is x, output 0 y. */
export type ProductPieceFactory<Params = unknown> = {
  make(call: OpCall<Params>, features: WgslFeatures): ProductPiece | undefined;
}["make"];

/**
 * A product y = x W^T of many rows in half precision, for matrix units: x [M, K] is input 0 and W [N, K] input 1, both dense.
 */
export interface TilePiece {
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

/** Describes such a product, or undefined where matrix units do not take it. */
export type TilePieceFactory<Params = unknown> = {
  make(call: OpCall<Params>, features: WgslFeatures): TilePiece | undefined;
}["make"];

/** A norm over the rows of x: kind, and which inputs multiply and are added. */
export interface NormPiece {
  readonly kind: "rms" | "layer";
  readonly eps: number;
  /** Added to the weight. */
  readonly offset: number;
  readonly weight: number | undefined;
  readonly bias: number | undefined;
}

export type NormPieceFactory<Params = unknown> = {
  make(call: OpCall<Params>): NormPiece | undefined;
}["make"];

/** Code that other ops contribute: functions of WGSL, and the inputs that they read as `NAME_INPUT`. */
export interface FunctionPiece {
  /** Inputs that are read, by name; the accessors are `load_PREFIX_NAME`. */
  readonly inputs: readonly { readonly name: string; readonly input: number; readonly dtype: DType }[];
  readonly params: Readonly<Record<string, StepParam>>;
  readonly tables: Readonly<Record<string, Uint32Array>>;
  /** The functions, whose names, and those of params, tables and inputs, begin with `prefix`. */
  code(prefix: string): string;
}

/** A rotation of pairs within heads: `PREFIX_turn(m, pair) -> vec2f`, cosine and sine for token m. */
export interface RotationPiece extends FunctionPiece {
  /** Tokens in all, and those of a row of the batch: x is [rows / tokens, H, tokens, width]. */
  readonly rows: number;
  readonly tokens: number;
  readonly layout: "half" | "interleaved";
  /** Pairs that turn, and width of a head. */
  readonly pairs: number;
  readonly width: number;
}

export type RotationPieceFactory<Params = unknown> = {
  make(call: OpCall<Params>): RotationPiece | undefined;
}["make"];

/** Where an op that changes stores in place puts the rows of token m: `PREFIX_cell(m, head) -> i32`, negative for nowhere. */
export interface PlacementPiece extends FunctionPiece {
  /** Tokens in all, and those of a row of the batch: rows are [rows / tokens, H, tokens, width]. */
  readonly rows: number;
  readonly tokens: number;
  /** Stores and what is put there, by input. */
  readonly stores: readonly {
    readonly store: number;
    readonly fresh: number;
    readonly dtype: DType;
    readonly width: number;
  }[];
}

export type PlacementPieceFactory<Params = unknown> = {
  make(call: OpCall<Params>): PlacementPiece | undefined;
}["make"];

/** What an op can contribute to a launch of several. */
export interface WgslPieces<Params = unknown> {
  readonly product?: ProductPieceFactory<Params>;
  readonly tiles?: TilePieceFactory<Params>;
  readonly norm?: NormPieceFactory<Params>;
  readonly rotation?: RotationPieceFactory<Params>;
  readonly placement?: PlacementPieceFactory<Params>;
}
