import fc from "fast-check";
import { expect, test } from "vitest";
import { fromHalf, roundHalfAway, roundHalfEven, toHalf } from "./half.js";

test("every f16 comes back from its value", () => {
  for (let bits = 0; bits < 65536; bits++) {
    const value = fromHalf(bits);
    if (Number.isNaN(value)) expect(toHalf(value)).toBe(0x7e00);
    else expect(toHalf(value)).toBe(bits);
  }
});

test("values between two halves go to the nearer, from the middle to the even one", () => {
  const neighbours = fc.record({
    bits: fc.integer({ min: 0, max: 0x7bfe }),
    part: fc.double({ min: 0, max: 1, noNaN: true }),
  });
  fc.assert(
    fc.property(neighbours, ({ bits, part }) => {
      const low = fromHalf(bits);
      const value = low + (fromHalf(bits + 1) - low) * part;
      const middle = (low + fromHalf(bits + 1)) / 2;
      const expected = value < middle ? bits : value > middle ? bits + 1 : bits + (bits & 1);
      expect(toHalf(value)).toBe(expected);
      expect(toHalf(-value)).toBe(expected | 0x8000);
    }),
  );
  expect([65519.9, 65520, 2 ** -25, 1.5 * 2 ** -24].map(toHalf)).toEqual([0x7bff, 0x7c00, 0, 2]);
});

test("ties of whole numbers", () => {
  expect([0.5, 1.5, 2.5, -0.5, -1.5].map((value) => roundHalfEven(value) + 0)).toEqual([0, 2, 2, 0, -2]);
  expect([0.5, 1.5, 2.5, -0.5, -1.4].map(roundHalfAway)).toEqual([1, 2, 3, -1, -1]);
});
