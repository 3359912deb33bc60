import type { Tensor } from "@heddle/tensor";
import { type Device, HeddleError, tensor } from "@heddle/tensor";
import {
  allOf,
  anyOf,
  type BlockSparseMask,
  blockSparse,
  causal,
  chunked,
  columns,
  firstKeys,
  type Mask,
  padding,
  queries,
  slidingWindow,
  strided,
} from "./masks.js";

/**
 * The Sparse Transformer's strided pattern: the last `stride` positions, and those at multiples of `stride` before the query.
 *
 * @returns plain data for any [B, H, T, S]
 * @throws HeddleError "config" if stride is not a whole number above 0
 * @see Child et al. 2019, arXiv:1904.10509, section 4.2, equation 3 (both heads' patterns joined)
 */
export function stridedPattern(stride: number): Mask {
  return allOf(causal(), anyOf(slidingWindow(stride), strided(stride)));
}

/**
 * The Sparse Transformer's fixed pattern: the query's own block of `stride`, and the last `summary` positions of every block.
 *
 * @returns plain data for any [B, H, T, S]
 * @throws HeddleError "config" if stride or summary is not a whole number above 0, or summary exceeds stride
 * @see Child et al. 2019, arXiv:1904.10509, section 4.2, equation 4 (c = summary)
 */
export function fixedPattern(stride: number, summary = 1): Mask {
  return allOf(causal(), anyOf(chunked(stride), columns(stride, summary)));
}

/**
 * Longformer's pattern: a window around each query, and global tokens that see and are seen by all.
 *
 * Shape: globalTokens [B, S] (T = S), bool or integer.
 * @param options.window  positions on each side, the query's own included
 * @returns a mask that borrows the tensor
 * @throws HeddleError "config" if window is not a whole number above 0; by attention "shape" if globalTokens is not [B, S], T = S
 * @see Beltagy et al. 2020, Longformer, arXiv:2004.05150, section 3.1
 */
export function longformerPattern(options: { readonly window: number; readonly globalTokens: Tensor }): Mask {
  const { window, globalTokens } = options;
  return anyOf(slidingWindow(window), padding(globalTokens), queries(globalTokens));
}

/**
 * StreamingLLM's pattern: the first `sinks` tokens and the last `window` ones.
 *
 * @returns plain data for any [B, H, T, S]
 * @throws HeddleError "config" if a count is not a whole number above 0
 * @see Xiao et al. 2023, Efficient Streaming Language Models with Attention Sinks, arXiv:2309.17453, section 3.2. Differs from it:
 * positions are those of the text, not those within the cache
 */
export function streamingPattern({
  sinks,
  window,
}: {
  readonly sinks: number;
  readonly window: number;
}): Mask {
  return allOf(causal(), anyOf(firstKeys(sinks), slidingWindow(window)));
}

/** What a BigBird pattern is made of. */
export interface BigBirdOptions {
  /** Tokens of the sequence. */
  readonly length: number;
  /** Tokens of a block. Default 64. */
  readonly blockSize?: number;
  /** First blocks, which see and are seen by all. Default 2. */
  readonly globalBlocks?: number;
  /** Blocks around each block, its own included; odd. Default 3. */
  readonly windowBlocks?: number;
  /** Further blocks that each block sees, drawn without the ones above. Default 3. */
  readonly randomBlocks?: number;
  /** Decides the random blocks. Default 0. */
  readonly seed?: number;
}

/**
 * BigBird's pattern, block by block: global, window and random blocks.
 *
 * @returns a mask that owns its layout, bool [blocks, blocks]: dispose `mask.layout` when done
 * @throws HeddleError "config" if a count is not a whole number, or windowBlocks is even
 * @see Zaheer et al. 2020, Big Bird, arXiv:2007.14062, section 2 (g, w, r) and appendix D (blocks)
 */
export function bigBirdPattern(device: Device, options: BigBirdOptions): BlockSparseMask {
  const { length, blockSize = 64, globalBlocks = 2, windowBlocks = 3, randomBlocks = 3, seed = 0 } = options;
  for (const [name, value] of Object.entries({
    length,
    blockSize,
    globalBlocks,
    windowBlocks,
    randomBlocks,
  })) {
    const isOdd = name !== "windowBlocks" || value % 2 === 1;
    if (Number.isInteger(value) && value >= 0 && isOdd) continue;
    throw new HeddleError(
      "config",
      `bigBirdPattern: ${name} must be a whole number${isOdd ? "" : ", odd so that it is centred"}; got ${name} ${value}. The paper has 2 global, 3 window and 3 random blocks of 64.`,
      { [name]: value },
    );
  }
  const blocks = Math.ceil(length / blockSize);
  const reach = (windowBlocks - 1) / 2;
  const next = pseudoRandom(seed);
  const layout = new Uint8Array(blocks * blocks);
  for (let row = 0; row < blocks; row++) {
    const others: number[] = [];
    for (let column = 0; column < blocks; column++) {
      const isGlobal = row < globalBlocks || column < globalBlocks;
      if (isGlobal || Math.abs(row - column) <= reach) layout[row * blocks + column] = 1;
      else others.push(column);
    }
    for (let i = 0; i < Math.min(randomBlocks, others.length); i++) {
      const pick = i + Math.floor(next() * (others.length - i));
      const chosen = others[pick] ?? 0;
      others[pick] = others[i] ?? 0;
      layout[row * blocks + chosen] = 1;
    }
  }
  return blockSparse(tensor(device, layout, { shape: [blocks, blocks], dtype: "bool" }), { blockSize });
}

/** A small generator of numbers in 0..1: the same for a seed everywhere. @see mulberry32 */
function pseudoRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
