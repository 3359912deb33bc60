import { byteWidth, type DType } from "../dtype.js";
import { decodeBits, encodeBits, lanesOf } from "./dtype.js";

// Tensors read and written some 32-bit words at a time, by default 16 bytes: buffers are arrays of words or vectors of words, whatever
// they hold.

/** Types of one, two or four words. */
export const wordTypes = { 1: "u32", 2: "vec2<u32>", 4: "vec4<u32>" } as const;
export type Words = keyof typeof wordTypes;

/** Elements of 16 bytes. */
export const vectorLanes = (dtype: DType): number => 16 / byteWidth(dtype);

/** Element j of a vector of so many words (its name), as an expression of the dtype's type in arithmetic. */
export function laneOf(dtype: DType, vector: string, j: number, words: Words = 4): string {
  const lanes = lanesOf(dtype);
  const word = words === 1 ? vector : `${vector}.${"xyzw"[Math.floor(j / lanes)]}`;
  return decodeBits(dtype, lanes === 1 ? word : `(${word} >> ${((j % lanes) * 32) / lanes}u)`);
}

/** The vector of so many words that holds values, given as expressions: as many as it takes. */
export function vectorOf(dtype: DType, values: readonly string[], words: Words = 4): string {
  const lanes = lanesOf(dtype);
  const word = (w: number) =>
    Array.from({ length: lanes }, (_, lane) => {
      const bits = encodeBits(dtype, values[w * lanes + lane] ?? "");
      return lane === 0 ? bits : `(${bits} << ${(lane * 32) / lanes}u)`;
    }).join(" | ");
  return `${wordTypes[words]}(${Array.from({ length: words }, (_, w) => word(w)).join(", ")})`;
}
