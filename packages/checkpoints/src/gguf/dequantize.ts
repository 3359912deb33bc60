import { HeddleError } from "@heddle/tensor";
import type { BlockDecoder } from "./blocks/block-codec.js";
import { decodeBF16, decodeF16, decodeF32 } from "./blocks/float.js";
import { decodeIQ4_NL } from "./blocks/iq4-nl.js";
import { decodeMXFP4 } from "./blocks/mxfp4.js";
import { decodeQ2_K } from "./blocks/q2-k.js";
import { decodeQ3_K } from "./blocks/q3-k.js";
import { decodeQ4_K } from "./blocks/q4-k.js";
import { decodeQ4_0, decodeQ4_1, decodeQ5_0, decodeQ5_1 } from "./blocks/q4-q5.js";
import { decodeQ5_K } from "./blocks/q5-k.js";
import { decodeQ6_K } from "./blocks/q6-k.js";
import { decodeQ8_0 } from "./blocks/q8-0.js";
import { type GgmlType, ggmlTypeInfo } from "./ggml-type.js";

const decoders: Partial<Record<GgmlType, BlockDecoder>> = {
  F32: decodeF32,
  F16: decodeF16,
  BF16: decodeBF16,
  Q8_0: decodeQ8_0,
  Q4_0: decodeQ4_0,
  Q4_1: decodeQ4_1,
  Q5_0: decodeQ5_0,
  Q5_1: decodeQ5_1,
  Q2_K: decodeQ2_K,
  Q3_K: decodeQ3_K,
  Q4_K: decodeQ4_K,
  Q5_K: decodeQ5_K,
  Q6_K: decodeQ6_K,
  IQ4_NL: decodeIQ4_NL,
  MXFP4: decodeMXFP4,
};

/** The types that `dequantize` knows. */
export const dequantizableTypes = Object.keys(decoders) as readonly GgmlType[];

/**
 * Widens the stored blocks of a tensor to f32, exactly as the format defines each type (the formulas are in blocks/).
 *
 * Shapes: `count` elements in row-major order, a multiple of the type's block -> [count].
 * @returns a new array
 * @throws HeddleError "unsupported" for a type without a decoder; "shape" where `bytes` is not what `count` elements take
 * @see https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
export function dequantize(type: GgmlType, bytes: Uint8Array, count: number): Float32Array {
  const decode = decoders[type];
  if (decode === undefined) {
    const message = `dequantize: the type must be one of ${dequantizableTypes.join(" ")}; got ${type}.`;
    throw new HeddleError("unsupported", `${message} Requantise the file to one of these.`, { type });
  }
  const { blockSize, blockBytes } = ggmlTypeInfo(type);
  if (!Number.isSafeInteger(count) || count < 0 || bytes.byteLength !== (count / blockSize) * blockBytes) {
    const rule = `${type} takes ${blockBytes} bytes for each ${blockSize} elements`;
    const message = `dequantize: ${rule}; got count ${count}, ${bytes.byteLength} bytes. Pass the whole tensor.`;
    throw new HeddleError("shape", message, { type, count, byteLength: bytes.byteLength });
  }
  const out = new Float32Array(count);
  decode(bytes, out);
  return out;
}
