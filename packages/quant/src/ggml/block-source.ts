import { f16ToNumber } from "@heddle/tensor";
import type { QuantFormat } from "../quant-format.js";

/** The numbers of one stored block, taken apart and not multiplied. */
export interface BlockContent {
  /** Codes as the format stores them; only the first `blockSize`. */
  readonly codes: Int16Array;
  /** One a group. */
  readonly scales: Float32Array;
  readonly mins: Float32Array;
  /** Second-level scale and minimum: index 0 and 1. */
  readonly supers: Float32Array;
}

/** How the blocks of a GGUF type become panels: the format that holds them exactly, and a reader of one block. */
export interface BlockSource {
  readonly format: QuantFormat;
  read(bytes: Uint8Array, at: number, out: BlockContent): void;
}

/** Reads a half float, little-endian. */
export function f16At(bytes: Uint8Array, at: number): number {
  return f16ToNumber((bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8));
}

/** The half of the byte at `at + (i & 15)` that holds element i of 32: the low one for the first 16. */
export function nibbleAt(bytes: Uint8Array, at: number, i: number): number {
  return ((bytes[at + (i & 15)] ?? 0) >> (i < 16 ? 0 : 4)) & 15;
}

/** Bit i of four bytes, little-endian. */
export function bitAt(bytes: Uint8Array, at: number, i: number): number {
  return ((bytes[at + (i >> 3)] ?? 0) >> (i & 7)) & 1;
}

/** Fills the codes of a block. */
export function fillCodes({ codes }: BlockContent, count: number, codeAt: (i: number) => number): void {
  for (let i = 0; i < count; i++) codes[i] = codeAt(i);
}
