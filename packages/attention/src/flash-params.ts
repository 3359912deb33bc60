import type { TensorType } from "@heddle/tensor";

/** What the flash attention ops need beside their tensors; plain data. */
export interface FlashParams {
  /** Multiplies query-key products. */
  readonly scale: number;
  /** Caps scores at +-softcap by tanh, before bias and mask. */
  readonly softcap?: number | undefined;
  /** Keys that a query at position p sees: p - left .. p + right; undefined = any. */
  readonly left?: number | undefined;
  readonly right?: number | undefined;
  /** Which optional inputs follow query, key and value, in this order. */
  readonly hasKeyMask: boolean;
  readonly hasBias: boolean;
  readonly hasSinks: boolean;
}

/** Indices of the optional inputs; undefined where absent. `count` is the number of inputs in all. */
export interface FlashInputs {
  readonly keyMask: number | undefined;
  readonly bias: number | undefined;
  readonly sinks: number | undefined;
  readonly count: number;
}

export function flashInputs(params: Pick<FlashParams, "hasKeyMask" | "hasBias" | "hasSinks">): FlashInputs {
  let count = 3;
  const keyMask = params.hasKeyMask ? count++ : undefined;
  const bias = params.hasBias ? count++ : undefined;
  const sinks = params.hasSinks ? count++ : undefined;
  return { keyMask, bias, sinks, count };
}

/** Extents of one attention call, in the words of the repository's symbol table. */
export interface FlashShape {
  /** B */
  readonly batch: number;
  /** H */
  readonly numHeads: number;
  /** G */
  readonly numKvHeads: number;
  /** T */
  readonly queryLen: number;
  /** S */
  readonly keyLen: number;
  /** D */
  readonly headDim: number;
  /** Features of a value, Dv. */
  readonly valueDim: number;
}

/** Reads the extents off the types of query, key and value. */
export function flashShape([query, key, value]: readonly TensorType[]): FlashShape {
  const [batch = 0, numHeads = 0, queryLen = 0, headDim = 0] = query?.shape ?? [];
  const [, numKvHeads = 0, keyLen = 0] = key?.shape ?? [];
  return { batch, numHeads, numKvHeads, queryLen, keyLen, headDim, valueDim: value?.shape[3] ?? 0 };
}

/** What the backward op needs: its inputs are query, key, value, key mask?, bias?, lse, delta, gradient of the output. */
export interface FlashBackwardParams extends FlashParams {
  /** Also gives the gradient of the bias, [B, H, T, S], as a fourth output. */
  readonly wantsBias: boolean;
}
