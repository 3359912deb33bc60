/**
 * Widens f16 bits to a number, exactly: (-1)^s * 2^(e - 15) * 1.m, or (-1)^s * 2^-14 * 0.m where e = 0.
 *
 * @see IEEE 754-2019, binary16
 */
export function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1023;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  if (exponent === 31) return mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1024 + mantissa) * 2 ** (exponent - 25);
}

/** Rounds a number to f16 bits: to nearest, ties to even; beyond 65504 (by half a step) to infinity. */
export function toHalf(value: number): number {
  if (Number.isNaN(value)) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (size >= 65520) return sign | 0x7c00;
  // The step of this binade; below 2^-14 all numbers share the step 2^-24.
  const exponent = Math.max(-14, size === 0 ? -14 : exponentOf(size));
  const steps = roundHalfEven(size * 2 ** (10 - exponent));
  // `steps` is 1024..2048 in a normal binade: a carry to 2048 gives the next exponent by itself.
  return sign | (((exponent + 14) << 10) + steps);
}

/** Rounds to the nearest whole number, ties to even: ggml's `nearest_int`. For |value| below 2^51. */
export function roundHalfEven(value: number): number {
  const magic = 6755399441055744; // 1.5 * 2^52: numbers of this size have no fraction
  return value + magic - magic;
}

/** Rounds to the nearest whole number, ties away from zero: C's `roundf`. */
export function roundHalfAway(value: number): number {
  const down = Math.trunc(value);
  return Math.abs(value - down) >= 0.5 ? down + Math.sign(value) : down;
}

/** Exponent of the greatest power of two that is not above `size` (a normal double > 0). */
function exponentOf(size: number): number {
  bits.setFloat64(0, size);
  return (bits.getUint16(0) >> 4) - 1023;
}

const bits = new DataView(new ArrayBuffer(8));
