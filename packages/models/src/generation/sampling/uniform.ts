import { philox } from "@heddle/tensor";

/**
 * The `draw`-th number in [0, 1) of a seed's stream, with 53 random bits: a pure function, so that a choice depends on
 * nothing that was drawn before.
 */
export function uniform(seed: number, draw: number): number {
  const key: [number, number] = [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0];
  const [high, low] = philox([draw >>> 0, Math.floor(draw / 2 ** 32) >>> 0, 0, 0], key);
  return ((high >>> 5) * 2 ** 26 + (low >>> 6)) / 2 ** 53;
}
