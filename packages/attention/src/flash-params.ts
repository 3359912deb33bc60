import type { TensorType } from "@heddle/tensor";
import type { MaskRule } from "./mask-rule.js";

/** What the flash attention ops need beside their tensors; plain data. */
export interface FlashParams {
  /** Multiplies query-key products. */
  readonly scale: number;
  /** Caps scores at +-softcap by tanh, before bias and mask. */
  readonly softcap?: number | undefined;
  /** Which keys a query sees; undefined = all. Its tensors follow query, key and value. */
  readonly mask?: MaskRule | undefined;
  readonly numMaskInputs: number;
  /** Which optional inputs follow those of the mask, in this order. */
  readonly hasBias: boolean;
  /** Scores also get a bias of distance alone, [H or 1, T + S - 1]; between bias and sinks. */
  readonly hasDistanceBias?: boolean;
  readonly hasSinks: boolean;
  /** Also gives the number of key tiles that each query tile visited, i32 [B, H, ceil(T / queries of a tile)]. */
  readonly countsTiles?: boolean;
}

/** Indices of the optional inputs; undefined where absent. `count` is the number of inputs in all. */
export interface FlashInputs {
  readonly mask: readonly number[];
  readonly bias: number | undefined;
  readonly distanceBias: number | undefined;
  readonly sinks: number | undefined;
  readonly count: number;
}

export function flashInputs(
  params: Pick<FlashParams, "numMaskInputs" | "hasBias" | "hasDistanceBias" | "hasSinks">,
): FlashInputs {
  let count = 3;
  const mask = Array.from({ length: params.numMaskInputs }, () => count++);
  const bias = params.hasBias ? count++ : undefined;
  const distanceBias = params.hasDistanceBias === true ? count++ : undefined;
  const sinks = params.hasSinks ? count++ : undefined;
  return { mask, bias, distanceBias, sinks, count };
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

/** Queries and keys of one tile: multiples of 16 columns, and of the 6 rows of a register block where a mask allows it. */
export interface TileSize {
  readonly queries: number;
  readonly keys: number;
}

/** Tiles of a call: small ones for few queries, those of the mask's blocks where it has blocks. */
export function tileSizeFor(queryLen: number, mask: MaskRule | undefined): TileSize {
  const block = mask === undefined ? undefined : blockSizeOf(mask);
  const side = [64, 48, 32, 16].find((size) => block !== undefined && block % size === 0);
  if (side !== undefined) return { queries: side, keys: side };
  return { queries: queryLen <= 16 ? 16 : 48, keys: 48 };
}

function blockSizeOf(rule: MaskRule): number | undefined {
  if (rule.kind === "blocks") return rule.size;
  if (rule.kind !== "all" && rule.kind !== "any") return undefined;
  return rule.rules.map(blockSizeOf).find((size) => size !== undefined);
}

/** What the backward op needs: its inputs are query, key, value, mask.., bias?, distance bias?, lse, delta, gradient of the output. */
export interface FlashBackwardParams extends FlashParams {
  /** Also gives the gradient of the bias, [B, H, T, S], as a fourth output. */
  readonly wantsBias: boolean;
  /** Also gives the gradient of the distance bias, [B, H, T + S - 1], as the last output. */
  readonly wantsDistanceBias?: boolean;
}
