import { type Device, tensor } from "@heddle/tensor";
import type { CheckpointContent } from "../../src/node/index.js";

const size = 40_000;

/** A checkpoint in which every number tells its step: a mixture of two steps would be seen. */
export function contentOf(device: Device, step: number): CheckpointContent {
  const filled = (value: number) => tensor(device, new Float32Array(size).fill(value));
  return {
    step,
    trees: {
      weights: { layers: [{ scale: filled(step) }, { scale: filled(-step) }] },
      optimizer: { first: filled(step + 0.5) },
    },
    state: { position: step * 10 },
  };
}
