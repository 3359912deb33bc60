import { HeddleError, type Tensor } from "@heddle/tensor";

/**
 * Which keys a query may attend to, as data. A closed union on `kind`; true always means "may attend".
 *
 * Queries and keys end together: query i of T stands at position i + S - T, key j of S at position j.
 */
export type Mask =
  | CausalMask
  | SlidingWindowMask
  | ChunkedMask
  | PrefixMask
  | FirstKeysMask
  | StridedMask
  | ColumnsMask
  | PaddingMask
  | QueriesMask
  | DocumentsMask
  | BlockSparseMask
  | TensorMask
  | AllOfMask
  | AnyOfMask;

export interface CausalMask {
  readonly kind: "causal";
}

export interface SlidingWindowMask {
  readonly kind: "slidingWindow";
  /** Number of positions, the query's own included. */
  readonly size: number;
}

export interface ChunkedMask {
  readonly kind: "chunked";
  /** Positions of a chunk. */
  readonly size: number;
}

export interface PrefixMask {
  readonly kind: "prefix";
  /** [B] i32: length of each row's prefix. Borrowed. */
  readonly lengths: Tensor;
}

export interface FirstKeysMask {
  readonly kind: "firstKeys";
  readonly count: number;
}

export interface StridedMask {
  readonly kind: "strided";
  readonly stride: number;
}

export interface ColumnsMask {
  readonly kind: "columns";
  readonly stride: number;
  readonly count: number;
}

export interface PaddingMask {
  readonly kind: "padding";
  /** [B, S], bool or integer: true (not 0) where a key may be seen. Borrowed. */
  readonly keyMask: Tensor;
}

export interface QueriesMask {
  readonly kind: "queries";
  /** [B, T], bool or integer: true (not 0) where a query sees. Borrowed. */
  readonly queryMask: Tensor;
}

export interface DocumentsMask {
  readonly kind: "documents";
  /** [B, S] i32. Borrowed. */
  readonly ids: Tensor;
}

export interface BlockSparseMask {
  readonly kind: "blockSparse";
  /** [blocks of T, blocks of S] or [H, blocks of T, blocks of S], bool. Borrowed. */
  readonly layout: Tensor;
  /** Queries and keys of a block. */
  readonly blockSize: number;
}

export interface TensorMask {
  readonly kind: "tensor";
  /** [B or 1, H or 1, T, S], bool or integer. Borrowed. */
  readonly mask: Tensor;
}

export interface AllOfMask {
  readonly kind: "allOf";
  readonly masks: readonly Mask[];
}

export interface AnyOfMask {
  readonly kind: "anyOf";
  readonly masks: readonly Mask[];
}

/**
 * Sees no later position. Queries and keys end together: query i of T stands at position i + S - T of S keys.
 *
 * @returns plain data for any [B, H, T, S]; it throws nothing
 * @see Vaswani et al. 2017, arXiv:1706.03762, section 3.2.3 (masking in the decoder)
 */
export function causal(): CausalMask {
  return { kind: "causal" };
}

/**
 * Sees positions less than `size` away on either side; with `causal()`, the last `size` positions.
 *
 * @param size  in tokens, the query's own included
 * @returns plain data for any [B, H, T, S]
 * @throws HeddleError "config" if size is not a whole number above 0
 * @see Beltagy et al. 2020, Longformer, arXiv:2004.05150, section 3.1; Jiang et al. 2023, Mistral 7B, arXiv:2310.06825, section 2
 */
export function slidingWindow(size: number): SlidingWindowMask {
  checkCount("slidingWindow", "size", { value: size, because: ", because a query sees at least itself" });
  return { kind: "slidingWindow", size };
}

/**
 * Sees the positions of the query's own chunk, floor(p / size); with `causal()`, those of them up to its own.
 *
 * @param size  of a chunk, in tokens
 * @returns plain data for any [B, H, T, S]
 * @throws HeddleError "config" if size is not a whole number above 0
 * @see Llama 4's chunked attention layers
 */
export function chunked(size: number): ChunkedMask {
  checkCount("chunked", "size", { value: size });
  return { kind: "chunked", size };
}

/**
 * Sees the prefix of the row from everywhere, and behind it causally: key j <= p or j < lengths[b].
 *
 * Shape: lengths [B] i32, in tokens.
 * @returns a mask that borrows the tensor
 * @throws HeddleError "shape" or "dtype" by attention, if lengths is not [B] i32
 * @see Raffel et al. 2020, T5, arXiv:1910.10683, section 3.2.1 (prefix LM)
 */
export function prefix(lengths: Tensor): PrefixMask {
  return { kind: "prefix", lengths };
}

/**
 * Sees the first `count` keys: those of a prompt that all share, or of attention sinks; inside of `anyOf`.
 *
 * @returns plain data for any [B, H, T, S]
 * @throws HeddleError "config" if count is not a whole number above 0
 * @see Xiao et al. 2023, arXiv:2309.17453, section 3.2 (initial tokens as sinks)
 */
export function firstKeys(count: number): FirstKeysMask {
  checkCount("firstKeys", "count", { value: count });
  return { kind: "firstKeys", count };
}

/**
 * Sees keys whose distance is a multiple of `stride`: p - j = 0, stride, 2 stride, .. on either side.
 *
 * @returns plain data for any [B, H, T, S]
 * @throws HeddleError "config" if stride is not a whole number above 0
 * @see Child et al. 2019, Sparse Transformers, arXiv:1904.10509, section 4.2 (strided, second head)
 */
export function strided(stride: number): StridedMask {
  checkCount("strided", "stride", { value: stride });
  return { kind: "strided", stride };
}

/**
 * Sees the last `count` keys of every `stride`: j mod stride >= stride - count.
 *
 * @returns plain data for any [B, H, T, S]
 * @throws HeddleError "config" if stride or count is not a whole number above 0, or count exceeds stride
 * @see Child et al. 2019, Sparse Transformers, arXiv:1904.10509, section 4.2 (fixed, second head)
 */
export function columns(stride: number, count = 1): ColumnsMask {
  checkCount("columns", "stride", { value: stride });
  checkCount("columns", "count", { value: count });
  if (count > stride) {
    throw new HeddleError(
      "config",
      `columns: count must not exceed stride; got count ${count}, stride ${stride}. With count = stride every key is seen: leave the mask out.`,
      { count, stride },
    );
  }
  return { kind: "columns", stride, count };
}

/**
 * Sees only the keys that the mask names: those of tokens, not of padding.
 *
 * Shape: keyMask [B, S], bool or integer, true (not 0) = may attend.
 * @returns a mask that borrows the tensor
 * @throws HeddleError "shape" or "dtype" by attention, if keyMask is not [B, S] of bools or integers
 * @see Vaswani et al. 2017, arXiv:1706.03762, section 3.2.3 (illegal connections set to -infinity)
 */
export function padding(keyMask: Tensor): PaddingMask {
  return { kind: "padding", keyMask };
}

/**
 * Only the queries that the mask names see; inside of `anyOf`, as Longformer's global tokens.
 *
 * Shape: queryMask [B, T], bool or integer, true (not 0) = sees.
 * @returns a mask that borrows the tensor
 * @throws HeddleError "shape" or "dtype" by attention, if queryMask is not [B, T] of bools or integers
 * @see Beltagy et al. 2020, Longformer, arXiv:2004.05150, section 3.1 (global attention)
 */
export function queries(queryMask: Tensor): QueriesMask {
  return { kind: "queries", queryMask };
}

/**
 * Sees the keys of the query's own document: several texts lie behind each other in one row, without padding.
 *
 * Shape: ids [B, S] i32, one number a token (`documentIds` makes them of lengths); queries are the last T tokens of a row. A
 * token with a negative id sees nothing and is not seen.
 * Tiles that two documents do not share are skipped where ids do not decrease along a row.
 * @returns a mask that borrows the tensor
 * @throws HeddleError "shape" or "dtype" by attention, if ids is not [B, S] i32 or there are more queries than keys
 * @see Krell et al. 2021, Efficient sequence packing, arXiv:2107.02027
 */
export function documents(ids: Tensor): DocumentsMask {
  return { kind: "documents", ids };
}

/**
 * Sees key j from query i where the layout says so for their blocks: layout[h, floor(i / blockSize), floor(j / blockSize)].
 *
 * Shape: layout [ceil(T / blockSize), ceil(S / blockSize)] or [H, .., ..], bool or integer. Blocks of 16, 32,
 * 48, 64 and multiples of 16 are skipped whole where they are not seen.
 * @returns a mask that borrows the tensor
 * @throws HeddleError "config" if blockSize is not a whole number above 0, "shape" if the layout has another rank
 * @see Child et al. 2019, arXiv:1904.10509, (block-sparse kernels); Zaheer et al. 2020, arXiv:2007.14062, appendix D
 */
export function blockSparse(layout: Tensor, { blockSize }: { readonly blockSize: number }): BlockSparseMask {
  checkCount("blockSparse", "blockSize", { value: blockSize });
  if (layout.rank !== 2 && layout.rank !== 3) {
    throw new HeddleError(
      "shape",
      `blockSparse: layout must be [query blocks, key blocks] or [heads, query blocks, key blocks]; got layout [${layout.shape.join(", ")}]. Reshape it.`,
      { layout: layout.shape },
    );
  }
  return { kind: "blockSparse", layout, blockSize };
}

/**
 * Sees where the tensor says so, whatever its pattern.
 *
 * Shape: mask [B or 1, H or 1, T, S], bool or integer, true (not 0) = may attend. It needs memory in T S:
 * the other masks do not. Tiles without a seen key are skipped.
 * @returns a mask that borrows the tensor
 * @throws HeddleError "shape" if the mask has another rank, or by attention another extent
 * @see Vaswani et al. 2017, arXiv:1706.03762, section 3.2.3 (masks set scores to -infinity)
 */
export function tensorMask(mask: Tensor): TensorMask {
  if (mask.rank !== 4) {
    throw new HeddleError(
      "shape",
      `tensorMask: mask must be [batch or 1, heads or 1, queries, keys]; got mask [${mask.shape.join(", ")}]. Reshape it: 1 where it is the same for all.`,
      { mask: mask.shape },
    );
  }
  return { kind: "tensor", mask };
}

/**
 * Sees what every one of the masks allows; all keys without a mask.
 *
 * @returns a mask for the [B, H, T, S] that its parts fit, whose tensors it borrows; it throws nothing
 * @see the sources of its parts: masks compose as sets of pairs (query, key)
 */
export function allOf(...masks: readonly Mask[]): AllOfMask {
  return { kind: "allOf", masks };
}

/**
 * Sees what at least one of the masks allows.
 *
 * @returns a mask for the [B, H, T, S] that its parts fit, whose tensors it borrows
 * @throws HeddleError "config" without a mask: nothing could be seen
 * @see the sources of its parts: masks compose as sets of pairs (query, key)
 */
export function anyOf(...masks: readonly Mask[]): AnyOfMask {
  if (masks.length === 0) {
    throw new HeddleError(
      "config",
      "anyOf: at least one mask is needed; got 0 masks. Pass the masks, or allOf() to see everything.",
      { masks: 0 },
    );
  }
  return { kind: "anyOf", masks };
}

/**
 * Numbers the tokens of documents that lie behind each other: lengths 2, 3 -> 0 0 1 1 1.
 *
 * @param lengths  tokens of each document
 * @param options.total  length of the result; tokens behind the last document get -1. Default: the sum of the lengths
 * @returns ids for `documents`, of one row [total]
 * @throws HeddleError "config" if a length is not a whole number above 0, "capacity" if the documents do not fit
 * @see Krell et al. 2021, arXiv:2107.02027 (packed sequences)
 */
export function documentIds(
  lengths: ArrayLike<number>,
  options: { readonly total?: number } = {},
): Int32Array {
  const all = Array.from(lengths);
  for (const value of all) checkCount("documentIds", "length", { value });
  const sum = all.reduce((a, b) => a + b, 0);
  const { total = sum } = options;
  if (sum > total) {
    throw new HeddleError(
      "capacity",
      `documentIds: documents must fit into the row; got ${sum} tokens, total ${total}. Leave a document to another row.`,
      { sum, total },
    );
  }
  const ids = new Int32Array(total).fill(-1);
  let from = 0;
  for (const [document, length] of all.entries()) {
    ids.fill(document, from, from + length);
    from += length;
  }
  return ids;
}

function checkCount(
  caller: string,
  name: string,
  { value, because = "" }: { readonly value: number; readonly because?: string },
): void {
  if (Number.isInteger(value) && value > 0) return;
  throw new HeddleError(
    "config",
    `${caller}: ${name} must be a whole number above 0${because}; got ${name} ${value}. Leave the mask out to see everything.`,
    { [name]: value },
  );
}
