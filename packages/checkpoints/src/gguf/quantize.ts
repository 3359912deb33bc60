import { HeddleError } from "@heddle/tensor";
import type { BlockEncoder, BlockPlace, BlockRounder } from "./blocks/block-codec.js";
import { encodeQ4_K, roundQ4_K } from "./blocks/q4-k.js";
import { encodeQ4_0, roundQ4_0 } from "./blocks/q4-q5.js";
import { encodeQ6_K, roundQ6_K } from "./blocks/q6-k.js";
import { encodeQ8_0, roundQ8_0 } from "./blocks/q8-0.js";
import { ggmlTypeInfo } from "./ggml-type.js";

const encoders = {
  Q8_0: encodeQ8_0,
  Q4_0: encodeQ4_0,
  Q4_K: encodeQ4_K,
  Q6_K: encodeQ6_K,
} satisfies Record<string, BlockEncoder>;

/** The types that `quantize` can make. */
export type QuantizableType = keyof typeof encoders;

const rounders: Readonly<Record<QuantizableType, BlockRounder>> = {
  Q8_0: roundQ8_0,
  Q4_0: roundQ4_0,
  Q4_K: roundQ4_K,
  Q6_K: roundQ6_K,
};

/** Greatest size of a value whose scale fits in f16 whatever the type. */
const maxSize = 8 * 65504;

/**
 * Quantises f32 values to the blocks of a type, by ggml's reference algorithm for it (the formulas are in blocks/).
 *
 * Shapes: values [count] in row-major order, count a multiple of 32 (Q8_0, Q4_0) or 256 (Q4_K, Q6_K). Blocks must not
 * cross rows: the last axis of the tensor must be such a multiple, too.
 * @returns new bytes, 8.5, 4.5, 4.5 or 6.5625 bits for each value
 * @throws HeddleError "unsupported" for other types; "shape" for a count that is not whole blocks; "config" for a value
 *   that is not finite or above 524032
 */
export function quantize(type: QuantizableType, values: Float32Array): Uint8Array {
  const bytes = checkedBlocks("quantize", type, values);
  encoders[type](values, bytes);
  return bytes;
}

/**
 * Begins one block that is rounded element by element, as methods need that answer an error with the elements after it.
 *
 * @param values  what the block is to hold, as far as is known: its scales are chosen for these
 * @param weights  how much a squared error of each element counts, such as the mean square of what it is multiplied by
 * @param place  where the block goes; its bytes must be zero
 * @returns rounds element i, which may have changed since: writes its code, once, and gives the value that it stands for
 * @throws what `quantize` throws
 * @see ggml's quantisation with an importance matrix, whose searches for the scales these are
 */
export function beginBlock(
  type: QuantizableType,
  values: Float32Array,
  { weights, ...place }: BlockPlace & { readonly weights: Float32Array },
): (i: number, value: number) => number {
  checkedBlocks("beginBlock", type, values);
  return rounders[type](values, weights, place);
}

/** Zeros for the blocks of values that can be quantised. */
export function checkedBlocks(caller: string, type: QuantizableType, values: Float32Array): Uint8Array {
  if (!Object.hasOwn(encoders, type)) {
    const message = `${caller}: the type must be one of ${Object.keys(encoders).join(" ")}; got ${type}.`;
    throw new HeddleError("unsupported", `${message} Choose one of these.`, { type });
  }
  const { blockSize, blockBytes } = ggmlTypeInfo(type);
  if (values.length % blockSize !== 0) {
    const message = `${caller}: ${type} takes a multiple of ${blockSize} values; got ${values.length} values.`;
    throw new HeddleError("shape", `${message} Keep such a tensor in F16.`, { type, count: values.length });
  }
  const bad = firstUnfit(values);
  if (bad >= 0) {
    const message = `${caller}: values must be finite and at most ${maxSize} in size; got value ${values[bad]} at ${bad}.`;
    throw new HeddleError("config", `${message} Keep such a tensor in F32.`, { type, at: bad });
  }
  return new Uint8Array((values.length / blockSize) * blockBytes);
}

/** Where the first value lies that is not finite or too large; -1 for none. */
function firstUnfit(values: Float32Array): number {
  for (let i = 0; i < values.length; i++) if (!(Math.abs(values[i] ?? 0) <= maxSize)) return i;
  return -1;
}
