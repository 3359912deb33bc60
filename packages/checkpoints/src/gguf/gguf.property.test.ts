import { HeddleError } from "@heddle/tensor";
import fc from "fast-check";
import { expect, test } from "vitest";
import { memorySink } from "../file-sink.js";
import { memorySource } from "../file-source.js";
import { dequantize } from "./dequantize.js";
import { type GgmlType, ggmlTypes } from "./ggml-type.js";
import { sizeBytes } from "./gguf-header.js";
import type { GgufArray, GgufValue } from "./gguf-value.js";
import { fromHalf } from "./half.js";
import { openGguf } from "./open-gguf.js";
import { quantize } from "./quantize.js";
import { type GgufTensorData, writeGguf } from "./write-gguf.js";

const text = fc.string({ unit: "binary", maxLength: 12 });
const float = { noDefaultInfinity: false, noNaN: false };
const scalars = {
  u8: fc.integer({ min: 0, max: 255 }),
  i8: fc.integer({ min: -128, max: 127 }),
  u16: fc.integer({ min: 0, max: 65535 }),
  i16: fc.integer({ min: -32768, max: 32767 }),
  u32: fc.integer({ min: 0, max: 4294967295 }),
  i32: fc.integer({ min: -2147483648, max: 2147483647 }),
  f32: fc.float(float),
  f64: fc.double(float),
  bool: fc.boolean(),
  string: text,
  u64: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  i64: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
};
const scalar = fc.oneof(
  ...Object.entries(scalars).map(([type, value]) => fc.record({ type: fc.constant(type), value })),
) as fc.Arbitrary<GgufValue>;
const flatArray = fc.oneof(
  ...Object.entries(scalars).map(([itemType, value]) =>
    fc.record({
      type: fc.constant("array"),
      itemType: fc.constant(itemType),
      value: fc.array<unknown>(value, { maxLength: 5 }),
    }),
  ),
) as fc.Arbitrary<GgufArray>;
const nestedArray = fc
  .array(flatArray, { maxLength: 3 })
  .map((value): GgufArray => ({ type: "array", itemType: "array", value }));
const doublyNested = fc
  .array(nestedArray, { maxLength: 2 })
  .map((value): GgufArray => ({ type: "array", itemType: "array", value }));
const metadata = fc
  .array(fc.tuple(text, fc.oneof(scalar, flatArray, nestedArray, doublyNested)), { maxLength: 6 })
  .map((entries) => new Map<string, GgufValue>(entries))
  .filter((fields) => !fields.has("general.alignment"));

const tensorData = fc
  .record({
    type: fc.constantFrom<GgmlType>(...ggmlTypes),
    leading: fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 3 }),
  })
  .chain(({ type, leading }) => {
    const shape = [...leading, 256];
    const bytes = sizeBytes(type, shape) ?? 0;
    return fc
      .uint8Array({ minLength: bytes, maxLength: bytes })
      .map((bytes): GgufTensorData & { bytes: Uint8Array } => ({ type, shape, bytes }));
  });
const tensors = fc
  .array(
    fc.tuple(
      text.filter((name) => new TextEncoder().encode(name).byteLength < 64),
      tensorData,
    ),
    { maxLength: 4 },
  )
  .map((entries) => new Map(entries));

test("what is written is read back: fields of every type, tensors of every type", async () => {
  const alignment = fc.option(fc.constantFrom(1, 8, 64, 256), { nil: undefined });
  await fc.assert(
    fc.asyncProperty(metadata, tensors, alignment, async (metadata, tensors, alignment) => {
      if (alignment !== undefined) metadata.set("general.alignment", { type: "u32", value: alignment });
      const sink = memorySink();
      await writeGguf(sink, "m.gguf", { metadata, tensors });
      const files = await openGguf(memorySource(sink.files), "m.gguf");
      expect([...files.metadata]).toEqual([...metadata]);
      expect([...files.tensors.keys()]).toEqual([...tensors.keys()]);
      for (const [name, { type, shape, bytes }] of tensors) {
        expect(files.tensors.get(name)).toMatchObject({ type, shape });
        expect((files.tensors.get(name)?.byteOffset ?? 1) % (alignment ?? 32)).toBe(0);
        expect(await files.read(name)).toEqual(bytes);
      }
    }),
    { numRuns: 150 },
  );
});

async function sample(): Promise<Uint8Array> {
  const sink = memorySink();
  const tokens: GgufArray = { type: "array", itemType: "string", value: ["a", "b", "ccc"] };
  const nested: GgufArray = {
    type: "array",
    itemType: "array",
    value: [tokens, { type: "array", itemType: "u8", value: [1, 2] }],
  };
  const metadata = new Map<string, GgufValue>([
    ["general.name", { type: "string", value: "x" }],
    ["tokens", tokens],
    ["nested", nested],
    ["count", { type: "u64", value: 5n }],
    ["flag", { type: "bool", value: true }],
  ]);
  const tensors = new Map<string, GgufTensorData>([
    ["a", { type: "Q4_0", shape: [2, 32], bytes: new Uint8Array(36).fill(7) }],
    ["b", { type: "F32", shape: [3], bytes: new Uint8Array(12).fill(1) }],
  ]);
  await writeGguf(sink, "m.gguf", { metadata, tensors });
  return sink.files["m.gguf"] ?? new Uint8Array();
}

/** Opens and reads all; true where accepted, false where refused as it should be. */
async function isAccepted(bytes: Uint8Array): Promise<boolean> {
  try {
    const files = await openGguf(memorySource({ "m.gguf": bytes }), "m.gguf");
    for (const [name, { byteLength }] of files.tensors)
      expect((await files.read(name)).byteLength).toBe(byteLength);
    return true;
  } catch (error) {
    if (!HeddleError.is(error) || error.code !== "format") throw error;
    return false;
  }
}

test("every truncation is refused", async () => {
  const whole = await sample();
  expect(await isAccepted(whole)).toBe(true);
  const dataEnd = whole.byteLength - 20; // the padding after the last tensor may be missing
  for (let length = 0; length < dataEnd; length++)
    expect(await isAccepted(whole.slice(0, length))).toBe(false);
});

test("changed bytes give a format error or a file that obeys the format", async () => {
  const whole = await sample();
  const change = fc.record({
    at: fc.integer({ min: 0, max: whole.byteLength - 1 }),
    byte: fc.oneof(fc.integer({ min: 0, max: 255 }), fc.constantFrom(0, 9, 255)),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 8 }), async (changes) => {
      const bytes = whole.slice();
      for (const { at, byte } of changes) bytes[at] = byte;
      await isAccepted(bytes);
    }),
    { numRuns: 1500 },
  );
});

test("random bytes after the magic are refused", async () => {
  const start = new Uint8Array([0x47, 0x47, 0x55, 0x46, 3, 0, 0, 0]);
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (tail) => {
      fc.pre(tail.slice(0, 16).some((byte) => byte !== 0)); // counts of zero: an empty file
      expect(await isAccepted(new Uint8Array([...start, ...tail]))).toBe(false);
    }),
    { numRuns: 500 },
  );
});

const row = fc.float32Array({ minLength: 256, maxLength: 256, noNaN: true, min: -1000, max: 1000 });

test("the quantisation error is at most half a step", () => {
  fc.assert(
    fc.property(row, fc.constantFrom("Q8_0", "Q4_0"), (values, type) => {
      const bytes = quantize(type, values);
      const out = dequantize(type, bytes, values.length);
      const blockBytes = type === "Q8_0" ? 34 : 18;
      for (const [i, value] of values.entries()) {
        const at = Math.floor(i / 32) * blockBytes;
        const step = Math.abs(fromHalf((bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8)));
        // The step itself is rounded to f16 (2^-11, and 2^-25 below its least); code -8 of Q4_0 has no +8: one step at that end.
        const levels = type === "Q8_0" ? 127 : 8;
        const half = type === "Q4_0" && Math.abs(out[i] ?? 0) >= 7 * step ? 1 : 0.5;
        const rounding = levels * (step * 2 ** -11 + 2 ** -25);
        expect(Math.abs((out[i] ?? 0) - value)).toBeLessThanOrEqual(half * step * 1.0001 + rounding);
      }
    }),
    { numRuns: 100 },
  );
});

test("what was quantised stays when it is quantised again", () => {
  const codes = fc.array(fc.integer({ min: -127, max: 127 }), { minLength: 31, maxLength: 31 });
  fc.assert(
    fc.property(codes, fc.integer({ min: -14, max: 8 }), (codes, exponent) => {
      const values = Float32Array.from([127, ...codes], (code) => code * 2 ** exponent);
      expect(dequantize("Q8_0", quantize("Q8_0", values), 32)).toEqual(values);
    }),
  );
});
