import { concat, gelu, linear, pad, scope, type Tensor } from "@heddle/tensor";
import type { ConvWeights } from "./weights.js";

/**
 * A convolution over three neighbouring places, with a place of zeros at either end.
 *
 * Shapes: x [B, T, C], weight [E, C, 3] -> [B, ceil(T / stride), E]. The three places are laid side by side, so that it is one
 * matrix product.
 */
export function convolve3(x: Tensor, { weight, bias }: ConvWeights, stride: 1 | 2): Tensor {
  const [B = 0, T = 0, C = 0] = x.shape;
  const [E = 0] = weight.shape;
  const length = Math.ceil(T / stride);
  return scope(x.device, () => {
    const padded = pad(x, [
      [0, 0],
      [1, 1],
      [0, 0],
    ]);
    const tap = (k: number) => padded.slice([0, k, 0], [B, length, C], { steps: [1, stride, 1] });
    const places = concat([tap(0), tap(1), tap(2)], { axis: 2 }); // [B, T', 3 C]
    return linear(places, weight.transpose([0, 2, 1]).reshape([E, 3 * C]), bias);
  });
}

/**
 * Whisper's front: two convolutions over time, the second of which halves the number of frames.
 *
 * Shapes: features [B, numBins, T] (as transformers lays them out) -> [B, T / 2, E].
 * @see Radford et al. 2022, Whisper, arXiv:2212.04356, section 2.2
 */
export function convolveFrames(features: Tensor, conv1: ConvWeights, conv2: ConvWeights): Tensor {
  return scope(features.device, () => {
    const frames = features.transpose([0, 2, 1]);
    return gelu(convolve3(gelu(convolve3(frames, conv1, 1)), conv2, 2));
  });
}
