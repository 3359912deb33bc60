import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { dequantizableTypes, dequantize } from "./dequantize.js";
import { type GgmlType, ggmlTypeInfo } from "./ggml-type.js";
import { beginBlock, type QuantizableType, quantize } from "./quantize.js";

const golden: {
  dequantized: Record<string, { count: number; bytes: string; values: string }>;
  input: string;
  quantized: Record<string, string>;
} = JSON.parse(readFileSync(new URL("../../test/golden/gguf/blocks.json", import.meta.url), "utf8"));

const bytesOf = (text: string) => new Uint8Array(Buffer.from(text, "base64"));
const floatsOf = (text: string) => new Float32Array(bytesOf(text).buffer);
const bits = (values: Float32Array) => Array.from(new Uint32Array(values.buffer));

describe("what ggml's own library gives, bit for bit", () => {
  test.each(Object.keys(golden.dequantized))("dequantize %s", (type) => {
    const { count, bytes, values } = golden.dequantized[type] ?? { count: 0, bytes: "", values: "" };
    const out = dequantize(type as GgmlType, bytesOf(bytes), count);
    expect(bits(out)).toEqual(bits(floatsOf(values)));
  });

  test.each(Object.keys(golden.quantized))("quantize %s", (type) => {
    const out = quantize(type as QuantizableType, floatsOf(golden.input));
    expect(Array.from(out)).toEqual(Array.from(bytesOf(golden.quantized[type] ?? "")));
  });

  test("every quantised type is covered", () => {
    const floats = ["F32", "F16", "BF16"];
    expect(Object.keys(golden.dequantized).sort()).toEqual(
      dequantizableTypes.filter((type) => !floats.includes(type)).sort(),
    );
  });
});

/** A block from bytes by position; all others are zero. */
function block(type: GgmlType, bytes: Record<number, number>): Uint8Array {
  const out = new Uint8Array(ggmlTypeInfo(type).blockBytes);
  for (const [at, byte] of Object.entries(bytes)) out[Number(at)] = byte;
  return out;
}

describe("blocks computed by hand", () => {
  const one = 0x3c; // upper byte of f16 1.0
  test.each([
    ["F32", block("F32", { 2: 0x20, 3: 0xc1 }), 0, -10],
    ["F16", block("F16", { 0: 1, 1: one }), 0, 1 + 2 ** -10],
    ["BF16", block("BF16", { 0: 0x20, 1: 0xc1 }), 0, -10],
    ["Q8_0", block("Q8_0", { 1: one, 33: 0x80 }), 31, -128],
    ["Q4_0", block("Q4_0", { 1: one, 2: 0xf3 }), 16, 7],
    ["Q4_1", block("Q4_1", { 1: one, 3: one, 4: 0xf3 }), 0, 4],
    ["Q5_0", block("Q5_0", { 1: one, 4: 1, 6: 0x20 }), 16, 2 + 16 - 16],
    ["Q5_1", block("Q5_1", { 1: one, 3: one, 4: 1, 8: 0x03 }), 0, 3 + 16 + 1],
    ["Q2_K", block("Q2_K", { 1: 0x35, 32: 2, 81: one, 83: one }), 16, 5 * 2 - 3],
    // scale 8: low bits in the upper half of byte 0, high bits at byte 8; 0x10 -> 1, | 2 << 4 -> 33; q bit 2 set
    ["Q3_K", block("Q3_K", { 0: 0x10, 64: 1, 96: 0x10, 104: 0x20, 109: one }), 128, (33 - 32) * (5 - 4)],
    ["Q4_K", block("Q4_K", { 1: one, 3: one, 5: 2, 9: 3, 16: 0x50 }), 32, 2 * 5 - 3],
    ["Q5_K", block("Q5_K", { 1: one, 3: one, 5: 2, 9: 3, 16: 2, 48: 0x50 }), 32, 2 * 21 - 3],
    ["Q6_K", block("Q6_K", { 0: 0x0f, 128: 3, 192: 0xfe, 209: one }), 0, -2 * (63 - 32)],
    ["IQ4_NL", block("IQ4_NL", { 1: one, 2: 0xf0 }), 16, 113],
    ["MXFP4", block("MXFP4", { 0: 128, 1: 0x7f }), 0, 2 * -6],
  ] as const)("%s", (type, bytes, at, value) => {
    const { blockSize } = ggmlTypeInfo(type);
    expect(dequantize(type, bytes, blockSize)[at]).toBe(value);
  });
});

describe.each(["Q8_0", "Q4_0", "Q4_K", "Q6_K"] as const)("beginBlock %s", (type) => {
  const { blockSize, blockBytes } = ggmlTypeInfo(type);
  const values = floatsOf(golden.input).slice(0, blockSize);
  const place = () => ({ bytes: new Uint8Array(3 + blockBytes), at: 3 });
  const weightsLike = (of: (i: number) => number) =>
    Float32Array.from({ length: blockSize }, (_, i) => of(i));

  test("gives the values that its bytes stand for, and comes as near as they can", () => {
    const { bytes, at } = place();
    const weights = weightsLike((i) => 1 + (i % 3));
    const round = beginBlock(type, values, { weights, bytes, at });
    // Every other value has changed since.
    const asked = values.map((value, i) => (i % 2 === 0 ? value : 0.9 * value));
    const got = asked.map((value, i) => round(i, value));
    expect(bits(got)).toEqual(bits(dequantize(type, bytes.slice(at), blockSize)));
    expect([...bytes.slice(0, at)]).toEqual([0, 0, 0]);
    const reference = dequantize(type, quantize(type, values), blockSize);
    const error = (near: Float32Array, to: Float32Array) =>
      near.reduce((sum, value, i) => sum + (weights[i] ?? 0) * (value - (to[i] ?? 0)) ** 2, 0);
    expect(error(got, asked)).toBeLessThan(1.3 * error(reference, values));
  });

  test("a value of much weight comes nearer", () => {
    const own = weightsLike((i) => Math.sin(7 * i + 1) * (1 + Math.cos(3 * i)));
    const errorOf = (weight: number) => {
      const { bytes, at } = place();
      const round = beginBlock(type, own, { weights: weightsLike((i) => (i === 5 ? weight : 1)), bytes, at });
      const got = own.map((value, i) => round(i, value));
      return Math.abs((got[5] ?? 0) - (own[5] ?? 0));
    };
    if (type === "Q8_0") expect(errorOf(1e6)).toBe(errorOf(1));
    else expect(errorOf(1e6)).toBeLessThan(0.9 * errorOf(1));
  });

  test("zeros stay zeros", () => {
    const { bytes, at } = place();
    const round = beginBlock(type, new Float32Array(blockSize), { weights: weightsLike(() => 1), bytes, at });
    for (let i = 0; i < blockSize; i++) expect(Math.abs(round(i, 0))).toBe(0);
    expect([...dequantize(type, bytes.slice(at), blockSize)].every((value) => value === 0)).toBe(true);
  });
});

test("bits per weight are those of the format", () => {
  const bitsPerWeight = dequantizableTypes.map((type) => {
    const { blockSize, blockBytes } = ggmlTypeInfo(type);
    return [type, (blockBytes * 8) / blockSize];
  });
  expect(Object.fromEntries(bitsPerWeight)).toEqual({
    F32: 32,
    F16: 16,
    BF16: 16,
    Q8_0: 8.5,
    Q4_0: 4.5,
    Q4_1: 5,
    Q5_0: 5.5,
    Q5_1: 6,
    Q2_K: 2.625,
    Q3_K: 3.4375,
    Q4_K: 4.5,
    Q5_K: 5.5,
    Q6_K: 6.5625,
    IQ4_NL: 4.5,
    MXFP4: 4.25,
  });
});

test("wrong types, counts and values are refused", () => {
  const refusals: (() => unknown)[] = [
    () => dequantize("IQ2_XS", new Uint8Array(74), 256),
    () => dequantize("Q4_0", new Uint8Array(18), 31),
    () => dequantize("Q4_0", new Uint8Array(17), 32),
    () => quantize("Q5_K" as QuantizableType, new Float32Array(256)),
    () => quantize("Q4_K", new Float32Array(255)),
    () => quantize("Q8_0", new Float32Array(32).fill(Number.NaN, 7)),
    () => quantize("Q8_0", new Float32Array(32).fill(1e6)),
    () =>
      beginBlock("Q4_0", new Float32Array(8), {
        weights: new Float32Array(8),
        bytes: new Uint8Array(18),
        at: 0,
      }),
  ];
  const messages = refusals.map((refuse) => {
    try {
      return refuse();
    } catch (error) {
      return error instanceof Error ? error.message : error;
    }
  });
  expect(messages).toMatchInlineSnapshot(`
    [
      "dequantize: the type must be one of F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL MXFP4; got IQ2_XS. Requantise the file to one of these.",
      "dequantize: Q4_0 takes 18 bytes for each 32 elements; got count 31, 18 bytes. Pass the whole tensor.",
      "dequantize: Q4_0 takes 18 bytes for each 32 elements; got count 32, 17 bytes. Pass the whole tensor.",
      "quantize: the type must be one of Q8_0 Q4_0 Q4_K Q6_K; got Q5_K. Choose one of these.",
      "quantize: Q4_K takes a multiple of 256 values; got 255 values. Keep such a tensor in F16.",
      "quantize: values must be finite and at most 524032 in size; got value NaN at 7. Keep such a tensor in F32.",
      "quantize: values must be finite and at most 524032 in size; got value 1000000 at 0. Keep such a tensor in F32.",
      "beginBlock: Q4_0 takes a multiple of 32 values; got 8 values. Keep such a tensor in F16.",
    ]
  `);
});
