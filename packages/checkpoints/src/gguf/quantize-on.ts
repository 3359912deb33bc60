import { type Device, nextTurn, scope, tensor } from "@heddle/tensor";
import { encodeQ4_K } from "./blocks/q4-k.js";
import { encodeQ6_K } from "./blocks/q6-k.js";
import { ggmlTypeInfo } from "./ggml-type.js";
import { fitScalesAndMinsOp, fitSignedScalesOp } from "./ops/fit-blocks.js";
import { checkedBlocks, type QuantizableType, quantize } from "./quantize.js";

/** Values that are fitted in one call: a multiple of every block, of some megabytes. */
const PIECE = 2 ** 20;

/**
 * Quantises as `quantize` does, to the byte, with the search for the scales on the device: on the CPU by kernels and on all of its
 * threads, which is some ten times as fast for the types whose scales are searched for (Q4_K, Q6_K). Other types and devices take
 * `quantize` itself.
 *
 * @throws what `quantize` throws
 */
export async function quantizeOn(
  device: Device,
  type: QuantizableType,
  values: Float32Array,
): Promise<Uint8Array> {
  if (device.kind !== "cpu" || (type !== "Q4_K" && type !== "Q6_K")) return quantize(type, values);
  const bytes = checkedBlocks("quantize", type, values);
  const { blockSize, blockBytes } = ggmlTypeInfo(type);
  for (let start = 0; start < values.length; start += PIECE) {
    await nextTurn();
    const piece = values.subarray(start, start + PIECE);
    const from = (start / blockSize) * blockBytes;
    const into = bytes.subarray(from, from + (piece.length / blockSize) * blockBytes);
    if (type === "Q4_K") encodeQ4_K(piece, into, await fittedScales(device, piece));
    else encodeQ6_K(piece, into, await fittedSignedScales(device, piece));
  }
  return bytes;
}

async function fittedScales(device: Device, values: Float32Array) {
  const fitted = scope(device, () => fitScalesAndMinsOp.apply([tensor(device, values)], undefined));
  const [scales, mins] = await Promise.all(fitted.map(async (one) => Float32Array.from(await one.data())));
  for (const one of fitted) one.dispose();
  return { scales: scales ?? new Float32Array(), mins: mins ?? new Float32Array() };
}

async function fittedSignedScales(device: Device, values: Float32Array): Promise<Float32Array> {
  using fitted = scope(device, () => fitSignedScalesOp.call([tensor(device, values)], undefined));
  return Float32Array.from(await fitted.data());
}
