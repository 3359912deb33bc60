import { expect, test } from "vitest";
import { bf16ToNumber, byteWidth, dtypes, f16ToNumber, numberToBf16, numberToF16, roundTo } from "./dtype.js";

const allPatterns = Array.from({ length: 65536 }, (_, bits) => bits);
const bitsOf = new Uint32Array(1);
const floatOf = new Float32Array(bitsOf.buffer);

test("every half pattern survives the way to a number and back; a NaN stays a NaN", () => {
  for (const bits of allPatterns) {
    const value = f16ToNumber(bits);
    if (Number.isNaN(value)) expect(Number.isNaN(f16ToNumber(numberToF16(value)))).toBe(true);
    else if (numberToF16(value) !== bits) expect.fail(`f16 ${bits} became ${numberToF16(value)}`);
  }
});

test("every bfloat16 pattern survives the way to a number and back; a NaN stays a NaN", () => {
  for (const bits of allPatterns) {
    const value = bf16ToNumber(bits);
    if (Number.isNaN(value)) expect(Number.isNaN(bf16ToNumber(numberToBf16(value)))).toBe(true);
    else if (numberToBf16(value) !== bits) expect.fail(`bf16 ${bits} became ${numberToBf16(value)}`);
  }
});

test("rounding goes to the nearest neighbour, ties to the even one", () => {
  const check = (toBits: (x: number) => number, toNumber: (bits: number) => number, largest: number) => {
    for (let i = 0; i < 200_000; i++) {
      bitsOf[0] = Math.imul(i, 2654435761) >>> 0;
      const value = floatOf[0] ?? 0;
      if (!Number.isFinite(value) || Math.abs(value) > largest) continue;
      const bits = toBits(value);
      const chosen = Math.abs(toNumber(bits) - value);
      for (const other of [bits - 1, bits + 1]) {
        if ((other & 0x7fff) >= (numberToF16 === toBits ? 0x7c00 : 0x7f80) || (other ^ bits) & 0x8000)
          continue;
        const distance = Math.abs(toNumber(other & 0xffff) - value);
        if (distance < chosen || (distance === chosen && bits % 2 === 1))
          expect.fail(`${value} went to ${bits}, not ${other}`);
      }
    }
  };
  check(numberToF16, f16ToNumber, 65504);
  check(numberToBf16, bf16ToNumber, 3e38);
  expect([65504, 65519, 65520, 1e9, -1e9].map(numberToF16)).toEqual([0x7bff, 0x7bff, 0x7c00, 0x7c00, 0xfc00]);
  expect([2 ** -24, 2 ** -25, 2 ** -25 * 1.5, -0].map(numberToF16)).toEqual([1, 0, 1, 0x8000]);
});

test("integers wrap as C casts do", () => {
  expect(roundTo("i8", 200)).toBe(-56);
  expect(roundTo("u8", 300)).toBe(44);
  expect(roundTo("i32", 2 ** 31)).toBe(-(2 ** 31));
  expect(roundTo("u32", -1)).toBe(2 ** 32 - 1);
  expect(roundTo("bool", 0.5)).toBe(1);
  expect(roundTo("f64", 0.1)).toBe(0.1);
});

test("widths", () => {
  expect(dtypes.map(byteWidth)).toEqual([8, 4, 2, 2, 4, 4, 1, 1, 1]);
});
