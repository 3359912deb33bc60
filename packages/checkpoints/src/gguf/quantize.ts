import { HeddleError } from "@heddle/tensor";
import type { BlockEncoder } from "./blocks/block-codec.js";
import { encodeQ4_K } from "./blocks/q4-k.js";
import { encodeQ4_0 } from "./blocks/q4-q5.js";
import { encodeQ6_K } from "./blocks/q6-k.js";
import { encodeQ8_0 } from "./blocks/q8-0.js";
import { ggmlTypeInfo } from "./ggml-type.js";

const encoders = {
  Q8_0: encodeQ8_0,
  Q4_0: encodeQ4_0,
  Q4_K: encodeQ4_K,
  Q6_K: encodeQ6_K,
} satisfies Record<string, BlockEncoder>;

/** The types that `quantize` can make. */
export type QuantizableType = keyof typeof encoders;

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
  if (!Object.hasOwn(encoders, type)) {
    const message = `quantize: the type must be one of ${Object.keys(encoders).join(" ")}; got ${type}.`;
    throw new HeddleError("unsupported", `${message} Choose one of these.`, { type });
  }
  const { blockSize, blockBytes } = ggmlTypeInfo(type);
  if (values.length % blockSize !== 0) {
    const message = `quantize: ${type} takes a multiple of ${blockSize} values; got ${values.length} values.`;
    throw new HeddleError("shape", `${message} Keep such a tensor in F16.`, { type, count: values.length });
  }
  const bad = values.findIndex((value) => !(Math.abs(value) <= maxSize));
  if (bad >= 0) {
    const message = `quantize: values must be finite and at most ${maxSize} in size; got value ${values[bad]} at ${bad}.`;
    throw new HeddleError("config", `${message} Keep such a tensor in F32.`, { type, at: bad });
  }
  const bytes = new Uint8Array((values.length / blockSize) * blockBytes);
  encoders[type](values, bytes);
  return bytes;
}
