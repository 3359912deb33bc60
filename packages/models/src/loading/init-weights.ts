import { type Device, type FloatDType, mul, ones, philox, randn, type Tensor, zeros } from "@heddle/tensor";
import type { DecoderConfig } from "../config.js";
import { buildWeights, type DecoderWeights } from "../weights.js";

/**
 * Makes fresh weights for training from scratch: normal with deviation `config.initializerRange`, scales 1, biases 0; the
 * two projections of each layer that add to the residual stream are smaller by sqrt(2 L).
 *
 * The same seed gives the same numbers on every device.
 * @param options.dtype  default: `device.defaultFloat`
 * @returns a tree that the caller disposes
 * @see Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.3
 */
export function initWeights(
  config: DecoderConfig,
  device: Device,
  { seed, dtype = device.defaultFloat }: { readonly seed: number; readonly dtype?: FloatDType },
): DecoderWeights {
  const residual = config.initializerRange / Math.sqrt(2 * config.numLayers);
  const streams = { next: 0 };
  return buildWeights(config, (path, shape) => {
    const stream = streams.next++;
    if (path.endsWith(".bias")) return zeros(device, shape, { dtype });
    if (shape.length === 1) return ones(device, shape, { dtype });
    const deviation = /\.(?:attention\.output|mlp\.down)\.weight$/.test(path)
      ? residual
      : config.initializerRange;
    return scaled(randn(device, shape, { seed: derivedSeed(seed, stream), dtype }), deviation);
  });
}

/** A seed of 53 bits for each weight, so that no two share a stream. */
function derivedSeed(seed: number, stream: number): number {
  const [low, high] = philox([stream, 0, 0, 0], [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0]);
  return low + (high >>> 11) * 2 ** 32;
}

function scaled(x: Tensor, factor: number): Tensor {
  try {
    return mul(x, factor);
  } finally {
    x.dispose();
  }
}
