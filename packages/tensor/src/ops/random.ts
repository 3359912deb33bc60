import { randomKernel } from "../cpu/kernels/random.js";
import { HeddleError } from "../error.js";
import { defineOp, type Op } from "../op.js";
import { philox, randomWords, stream, wordToUnit } from "../philox.js";
import { scope } from "../scope.js";
import { formatType, type Shape, sizeOf, type TensorType } from "../shape.js";
import type { Tensor } from "../tensor.js";
import { foldInWgsl, randomWgsl } from "../wgsl/kernels/random.js";
import { elementwise } from "./elementwise.js";

function checkKey(caller: string, key: TensorType | undefined): void {
  if (key && (key.dtype !== "u32" || key.shape.length !== 1 || key.shape[0] !== 2)) {
    throw new HeddleError(
      "dtype",
      `${caller}: a key is a u32 tensor of shape [2]; got ${formatType(key)}. Make one with \`randomKey(device, seed)\`.`,
      { key: formatType(key) },
    );
  }
}

const keyOf = (key: { data: ArrayLike<number> }): [number, number] => [key.data[0] ?? 0, key.data[1] ?? 0];

/** Uniform numbers in [0, 1), f32, from a key. */
export const uniformOp: Op<{ readonly shape: Shape }> = defineOp({
  name: "uniform",
  infer([key], { shape }) {
    checkKey("uniform", key);
    return [{ shape, dtype: "f32" as const }];
  },
  evaluate([key], [output]) {
    if (!key || !output) return;
    output.data.set(
      Float32Array.from(randomWords(keyOf(key), output.data.length, stream.values), wordToUnit),
    );
  },
  kernels: {
    wasm({ outputs: [output] }, features) {
      const elements = sizeOf(output?.shape ?? []);
      return randomKernel({ elements, stream: stream.values, kind: "uniform" }, features);
    },
    wgsl: ({ params: { shape } }) =>
      randomWgsl({ elements: sizeOf(shape), stream: stream.values, kind: "uniform" }),
  },
});

/** n independent keys from one: u32 [n, 2]. */
export const splitKeyOp: Op<{ readonly count: number }> = defineOp({
  name: "splitKey",
  infer([key], { count }) {
    checkKey("splitKey", key);
    return [{ shape: [count, 2], dtype: "u32" as const }];
  },
  evaluate([key], [output], { count }) {
    if (key && output) output.data.set(randomWords(keyOf(key), count * 2, stream.split));
  },
  kernels: {
    wasm({ params: { count } }, features) {
      return randomKernel({ elements: count * 2, stream: stream.split, kind: "words" }, features);
    },
    wgsl: ({ params: { count } }) => randomWgsl({ elements: count * 2, stream: stream.split, kind: "words" }),
  },
});

/** A key that depends on a key and a u32 number held in a tensor, such as a step counter. */
export const foldInOp: Op<Readonly<Record<never, never>>> = defineOp({
  name: "foldIn",
  infer([key]) {
    checkKey("foldIn", key);
    return [{ shape: [2], dtype: "u32" as const }];
  },
  evaluate([key, number], [output]) {
    if (key && number && output)
      output.data.set(philox([number.data[0] ?? 0, 0, 0, stream.fold], keyOf(key)).slice(0, 2));
  },
  kernels: { wgsl: () => foldInWgsl(stream.fold) },
});

/**
 * Splits a key into independent ones.
 *
 * Shapes: key u32 [2] -> `count` keys u32 [2].
 * @returns new tensors that the caller owns
 */
export function splitKey(key: Tensor, count: number): Tensor[] {
  return scope(key.device, () => {
    const keys = splitKeyOp.call([key], { count });
    return Array.from({ length: count }, (_, i) => keys.narrow(0, i, i + 1).reshape([2]));
  });
}

/**
 * Makes the key for use number `number` of `key`: a new key each step without new seeds.
 *
 * Shapes: key u32 [2], number u32 of one element -> u32 [2].
 * @returns a new tensor that the caller owns
 */
export function foldIn(key: Tensor, number: Tensor): Tensor {
  return foldInOp.call([key, number], {});
}

/**
 * Sets a random part of the elements to zero and scales the rest by 1 / (1 - rate), so that the mean stays.
 *
 * Shapes: x [..], key u32 [2] -> [..]. `rate` is the probability of zero, 0 <= rate < 1; with rate 0 x comes back unchanged.
 * The same key drops the same elements on every device.
 * @returns a new tensor that the caller owns
 * @throws HeddleError "config" if the rate is not in 0 <= rate < 1
 * @see Srivastava et al. 2014, Dropout
 */
export function dropout(x: Tensor, options: { readonly rate: number; readonly key: Tensor }): Tensor {
  const { rate, key } = options;
  if (!(rate >= 0 && rate < 1)) {
    throw new HeddleError(
      "config",
      `dropout: rate must be in 0 <= rate < 1; got ${rate}. Pass the probability of dropping.`,
      { rate },
    );
  }
  if (rate === 0) return x.reshape(x.shape);
  return scope(x.device, () => {
    const keep = elementwise("greaterEqual", uniformOp.call([key], { shape: x.shape }), rate);
    return x.mul(keep.cast(x.dtype)).mul(1 / (1 - rate));
  });
}
