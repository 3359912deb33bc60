import { byteWidth, type DType } from "../dtype.js";
import { decodeBits, encodeBits, lanesOf } from "./dtype.js";

// Tensors read and written 16 bytes at a time: buffers are arrays of vec4u, whatever they hold.

/** Elements of 16 bytes. */
export const vectorLanes = (dtype: DType): number => 16 / byteWidth(dtype);

/** Element j of a vector (the name of a vec4u), as an expression of the dtype's type in arithmetic. */
export function laneOf(dtype: DType, vector: string, j: number): string {
  const lanes = lanesOf(dtype);
  const word = `${vector}.${"xyzw"[Math.floor(j / lanes)]}`;
  return decodeBits(dtype, lanes === 1 ? word : `(${word} >> ${((j % lanes) * 32) / lanes}u)`);
}

/** The vector that holds values, given as expressions: as many as 16 bytes take. */
export function vectorOf(dtype: DType, values: readonly string[]): string {
  const lanes = lanesOf(dtype);
  const word = (w: number) =>
    Array.from({ length: lanes }, (_, lane) => {
      const bits = encodeBits(dtype, values[w * lanes + lane] ?? "");
      return lane === 0 ? bits : `(${bits} << ${(lane * 32) / lanes}u)`;
    }).join(" | ");
  return `vec4u(${[0, 1, 2, 3].map(word).join(", ")})`;
}
