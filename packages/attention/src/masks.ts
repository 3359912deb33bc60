import { HeddleError, type Tensor } from "@heddle/tensor";

/** Which keys a query may attend to, as data. A closed union on `kind`; true always means "may attend". */
export type Mask = CausalMask | SlidingWindowMask | PaddingMask | AllOfMask;

export interface CausalMask {
  readonly kind: "causal";
}

export interface SlidingWindowMask {
  readonly kind: "slidingWindow";
  /** Number of positions, the query's own included. */
  readonly size: number;
}

export interface PaddingMask {
  readonly kind: "padding";
  /** [B, S], bool or integer: true (not 0) where a key may be seen. Borrowed. */
  readonly keyMask: Tensor;
}

export interface AllOfMask {
  readonly kind: "allOf";
  readonly masks: readonly Mask[];
}

/** Sees no later position. Queries and keys end together: query i stands at position i + S - T. */
export function causal(): CausalMask {
  return { kind: "causal" };
}

/**
 * Sees positions less than `size` away on either side; with `causal()`, the last `size` positions.
 *
 * @throws HeddleError "config" if size is not a whole number above 0
 */
export function slidingWindow(size: number): SlidingWindowMask {
  if (!Number.isInteger(size) || size < 1) {
    throw new HeddleError(
      "config",
      `slidingWindow: size must be a whole number above 0, because a query sees at least itself; got size ${size}. Leave the mask out to see everything.`,
      { size },
    );
  }
  return { kind: "slidingWindow", size };
}

/** Sees only the keys that the mask names. Shape: keyMask [B, S], true = may attend. Borrows the tensor. */
export function padding(keyMask: Tensor): PaddingMask {
  return { kind: "padding", keyMask };
}

/** Sees what every one of the masks allows. */
export function allOf(...masks: readonly Mask[]): AllOfMask {
  return { kind: "allOf", masks };
}

/** A mask in the form that kernels take: a band of positions, and masks of keys. */
export interface MaskRules {
  /** A query at position p sees keys p - left .. p + right; undefined = any. */
  readonly left?: number | undefined;
  readonly right?: number | undefined;
  readonly keyMasks: readonly Tensor[];
}

/** Flattens a mask. */
export function maskRules(mask: Mask | undefined): MaskRules {
  if (mask === undefined) return { keyMasks: [] };
  switch (mask.kind) {
    case "causal":
      return { right: 0, keyMasks: [] };
    case "slidingWindow":
      return { left: mask.size - 1, right: mask.size - 1, keyMasks: [] };
    case "padding":
      return { keyMasks: [mask.keyMask] };
    case "allOf":
      return mask.masks.map(maskRules).reduce(bothRules, { keyMasks: [] });
    default:
      return mask satisfies never;
  }
}

function bothRules(a: MaskRules, b: MaskRules): MaskRules {
  const narrower = (x: number | undefined, y: number | undefined) =>
    x === undefined ? y : y === undefined ? x : Math.min(x, y);
  return {
    left: narrower(a.left, b.left),
    right: narrower(a.right, b.right),
    keyMasks: [...a.keyMasks, ...b.keyMasks],
  };
}
