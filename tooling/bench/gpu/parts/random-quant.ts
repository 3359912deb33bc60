import type { WebGpuDevice } from "@heddle/gpu";
import { partTypes, type QuantLayout, type QuantTensor, quantFromParts } from "@heddle/quant";
import { fromBytes, zeros } from "@heddle/tensor";

/** A weight's form with 4 or 8 bits in groups of 32 and half-precision scales, as in Q4_0 and Q8_0 files. */
export function fileLayout(
  bits: 4 | 8,
  extents: Pick<QuantLayout, "outFeatures" | "inFeatures">,
): QuantLayout {
  const offset = bits === 4 ? 8 : 0;
  return { codeBits: bits, offset, groupSize: 32, scaleDType: "f16", hasMin: false, ...extents };
}

/**
 * A weight of random codes and one scale. Of many codes only the first 2^20 bytes are made, and repeated: making all on the host
 * takes longer than measuring.
 */
export function randomQuant(
  device: WebGpuDevice,
  layout: QuantLayout,
  { scale, seed }: { readonly scale: number; readonly seed: number },
): QuantTensor {
  const { codes, scales } = partTypes(layout);
  if (codes === undefined || scales === undefined) throw new Error("a weight has codes and scales");
  const bytes = new Uint8Array(codes.shape.reduce((product, extent) => product * extent, 1));
  const some = Math.min(bytes.length, 2 ** 20);
  for (let i = 0, state = seed; i < some; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  for (let done = some; done < bytes.length; done *= 2) bytes.copyWithin(done, 0, done);
  return quantFromParts(layout, {
    codes: fromBytes(device, codes, bytes),
    scales: zeros(device, scales.shape).add(scale).cast("f16"),
  });
}
