import { attention, causal } from "@heddle/attention";
import { cpu, disposeTree, randn, type Tensor, valueAndGrad } from "@heddle/tensor";

interface Inputs {
  readonly query: Tensor;
  readonly key: Tensor;
  readonly distanceBias?: Tensor;
}

/** Bytes a token at the peak of causal attention of one head of size 8, above what its inputs take. */
export function peakBytesPerToken(
  length: number,
  { hasGradient, hasDistanceBias }: { readonly hasGradient: boolean; readonly hasDistanceBias: boolean },
): number {
  const device = cpu({ threads: 1 });
  const inputs: Inputs = {
    query: randn(device, [1, 1, length, 8], { seed: 1 }),
    key: randn(device, [1, 1, length, 8], { seed: 2 }),
    ...(hasDistanceBias && { distanceBias: randn(device, [1, 2 * length - 1], { seed: 3 }) }),
  };
  const before = device.memory().bytes;
  const attend = ({ query, key, distanceBias }: Inputs) =>
    attention(query, key, key, { mask: causal(), distanceBias });
  disposeTree(
    hasGradient ? valueAndGrad((weights: Inputs) => attend(weights).sum())(inputs) : attend(inputs),
  );
  const bytes = (device.memory().peakBytes - before) / length;
  device.dispose();
  return bytes;
}
