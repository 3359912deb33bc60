import { HeddleError, scope, type Tensor } from "@heddle/tensor";
import { checkCount } from "./check.js";

/** Where queries stand among keys: query i at position queryStart + i, key j at position j. */
export interface Alignment {
  /** T, in tokens. */
  readonly queryLen: number;
  /** S, in tokens. */
  readonly keyLen: number;
  /** Position of query 0. Default S - T: queries and keys end together. */
  readonly queryStart?: number;
}

/** Checks an alignment and fills in its default. */
export function alignmentOf(caller: string, alignment: Alignment): Required<Alignment> {
  const { queryLen, keyLen, queryStart = keyLen - queryLen } = alignment;
  checkCount(caller, "queryLen", queryLen);
  checkCount(caller, "keyLen", keyLen);
  if (!Number.isInteger(queryStart)) {
    throw new HeddleError(
      "config",
      `${caller}: queryStart must be a whole number of tokens; got queryStart ${queryStart}. Leave it out if queries and keys end together.`,
      { queryStart },
    );
  }
  return { queryLen, keyLen, queryStart };
}

/**
 * Lists the T + S - 1 relative positions (key minus query) that occur between queries and keys, ascending.
 *
 * Column c of a table in this order is what `relativeShift` gives to the pairs (i, j) with j - i = c - (T - 1).
 */
export function relativePositions({ queryLen, keyLen, queryStart }: Required<Alignment>): number[] {
  return Array.from({ length: queryLen + keyLen - 1 }, (_, c) => c - (queryLen - 1) - queryStart);
}

/**
 * Turns columns by relative position into columns by key: y[.., i, j] = x[.., i, T - 1 - i + j].
 *
 * Shapes: x [.., T, T + S - 1] -> [.., T, S]. Only moves memory, so that values and gradients are exact.
 * @returns a new tensor that the caller disposes
 * @see Dai et al. 2019, Transformer-XL, arXiv:1901.02860, appendix B. Differs from it: no row wraps around, so that keys after
 * the query are right as well
 */
export function relativeShift(x: Tensor): Tensor {
  const [T = 1, columns = 1] = x.shape.slice(-2);
  const lead = x.shape.slice(0, -2);
  const S = columns - T + 1;
  if (T === 1) return x.reshape(x.shape);
  return scope(x.device, () => {
    const flat = x.reshape([...lead, T * columns]);
    const skewed = flat.narrow(lead.length, T - 1, T - 1 + T * (columns - 1));
    return skewed.reshape([...lead, T, columns - 1]).narrow(lead.length + 1, 0, S);
  });
}

/**
 * Spreads a table by relative position over all pairs: y[h, i, j] = table[h, T - 1 - i + j].
 *
 * Shapes: table [H, T + S - 1] -> [1, H, T, S].
 * @returns a new tensor that the caller disposes
 */
export function biasByDistance(table: Tensor, { queryLen }: Required<Alignment>): Tensor {
  const [heads = 1, columns = 1] = table.shape;
  return scope(table.device, () =>
    relativeShift(table.reshape([1, heads, 1, columns]).broadcastTo([1, heads, queryLen, columns])),
  );
}

/**
 * Turns columns by key into columns by relative position, zeros elsewhere: the adjoint of `relativeShift`.
 *
 * Shapes: x [.., T, S] -> [.., T, T + S - 1].
 * @returns a new tensor that the caller disposes
 */
export function relativeUnshift(x: Tensor): Tensor {
  const [T = 1, S = 1] = x.shape.slice(-2);
  const lead = x.shape.slice(0, -2);
  if (T === 1) return x.reshape(x.shape);
  const columns = T + S - 1;
  const none = lead.map(() => [0, 0] as const);
  return scope(x.device, () =>
    x
      .pad([...none, [0, 0], [0, T - 2]])
      .reshape([...lead, T * (columns - 1)])
      .pad([...none, [T - 1, 1]])
      .reshape([...lead, T, columns]),
  );
}
