import { HeddleError, scope, type Tensor, tensor } from "@heddle/tensor";
import { alignmentOf, biasByDistance, relativePositions } from "./alignment.js";
import { checkCount, checkShape } from "./check.js";
import type { BiasEncoding } from "./position-encoding.js";

/** How distances share the rows of T5's table. */
export interface T5BucketOptions {
  /** Default 32. */
  readonly numBuckets?: number;
  /** Distances from here on share the last bucket, in tokens. Default 128. */
  readonly maxDistance?: number;
  /** Half of the buckets are for keys after the query (encoder); otherwise those keys share bucket 0 (decoder). Default true. */
  readonly isBidirectional?: boolean;
}

/**
 * Finds the bucket of a relative position: one each for the first half of the distances, then logarithmically wider ones.
 *
 * @param relativePosition  key minus query, in tokens
 * @returns a row of a table [numBuckets, H], a whole number 0..numBuckets-1
 * @throws HeddleError "config" if numBuckets is too small (or odd where bidirectional) or maxDistance does not exceed the exact half
 * @see Raffel et al. 2020, T5, arXiv:1910.10683, section 2.1. Differs from the released code: the logarithm is taken in float64,
 * and in whole numbers where a distance lies on the edge of a bucket
 */
export function t5Bucket(relativePosition: number, options: T5BucketOptions = {}): number {
  const { numBuckets = 32, maxDistance = 128, isBidirectional = true } = options;
  checkBuckets({ numBuckets, maxDistance, isBidirectional });
  const count = isBidirectional ? numBuckets / 2 : numBuckets;
  const first = isBidirectional && relativePosition > 0 ? count : 0;
  const distance = isBidirectional ? Math.abs(relativePosition) : Math.max(0, -relativePosition);
  const exact = Math.floor(count / 2);
  if (distance < exact) return first + distance;
  const octave = Math.log(distance / exact) / Math.log(maxDistance / exact);
  const wide = exact + Math.floor(octave * (count - exact) + 1e-9);
  return first + Math.min(wide, count - 1);
}

/**
 * Biases scores by the bucket of the distance: b[h, i, j] = table[bucket(j - i), h].
 *
 * Shapes: table [numBuckets, H] -> [1, H, T, S]. Differentiable in the table.
 * @returns an encoding of kind "bias" that borrows the table
 * @throws HeddleError "shape" if the table has another number of rows than buckets; "config" as `t5Bucket`
 * @see Raffel et al. 2020, T5, arXiv:1910.10683, section 2.1. T5 does not scale its scores: give attention `scale: 1` there
 */
export function t5Bias(table: Tensor, options: T5BucketOptions = {}): BiasEncoding {
  const { numBuckets = 32 } = options;
  checkShape("t5Bias", { table }, [numBuckets, "H"]);
  return {
    kind: "bias",
    bias: (alignment) => {
      const full = alignmentOf("t5Bias", alignment);
      const buckets = Int32Array.from(relativePositions(full), (n) => t5Bucket(n, options));
      return scope(table.device, () =>
        biasByDistance(table.take(tensor(table.device, buckets)).transpose(), full),
      );
    },
  };
}

function checkBuckets({ numBuckets, maxDistance, isBidirectional }: Required<T5BucketOptions>): void {
  checkCount("t5Bucket", "numBuckets", numBuckets);
  const least = isBidirectional ? 4 : 2;
  if (numBuckets < least || (isBidirectional && numBuckets % 2 !== 0)) {
    throw new HeddleError(
      "config",
      `t5Bucket: numBuckets must be at least ${least}${isBidirectional ? " and even, half for each direction" : ""}; got numBuckets ${numBuckets}. T5 has 32.`,
      { numBuckets, isBidirectional },
    );
  }
  const exact = Math.floor((isBidirectional ? numBuckets / 2 : numBuckets) / 2);
  if (!(maxDistance > exact)) {
    throw new HeddleError(
      "config",
      `t5Bucket: maxDistance must exceed the ${exact} distances that have their own bucket; got maxDistance ${maxDistance}. T5 has 128.`,
      { maxDistance, exact },
    );
  }
}
