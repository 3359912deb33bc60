import { readFileSync } from "node:fs";
import { disposeTree, fromBytes, HeddleError, reference, type Tensor } from "@heddle/tensor";
import fc from "fast-check";
import { expect, test } from "vitest";
import { memorySink } from "./file-sink.js";
import { memorySource } from "./file-source.js";
import { loadTensors } from "./load-tensors.js";
import { openSafetensors } from "./safetensors.js";
import { saveTensors } from "./save-tensors.js";

const widths = { f64: 8, f32: 4, f16: 2, bf16: 2, i32: 4, u32: 4, i8: 1, u8: 1 } as const;
const dtypes = Object.keys(widths) as (keyof typeof widths)[];

const tensorSpec = fc
  .record({
    dtype: fc.constantFrom(...dtypes),
    shape: fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 3 }),
  })
  .chain(({ dtype, shape }) => {
    const bytes = shape.reduce((product, size) => product * size, 1) * widths[dtype];
    return fc.record({
      dtype: fc.constant(dtype),
      shape: fc.constant(shape),
      bytes: fc.uint8Array({ minLength: bytes, maxLength: bytes }),
    });
  });

const names = fc
  .string({ minLength: 1, unit: "binary" })
  .filter((name) => name !== "__metadata__" && name !== "__proto__");

test("what is written is read back bit for bit, in one file and in shards", async () => {
  const file = fc.record({
    tensors: fc.dictionary(names, tensorSpec, { maxKeys: 6 }),
    metadata: fc.dictionary(fc.string(), fc.string(), { maxKeys: 3, noNullPrototype: true }),
    maxShardBytes: fc.option(fc.integer({ min: 1, max: 200 }), { nil: undefined }),
  });
  await fc.assert(
    fc.asyncProperty(file, async ({ tensors, metadata, maxShardBytes }) => {
      fc.pre(!Object.hasOwn(metadata, "__proto__"));
      const device = reference();
      const written: Record<string, Tensor> = {};
      for (const [name, spec] of Object.entries(tensors)) written[name] = fromBytes(device, spec, spec.bytes);
      const sink = memorySink();
      await saveTensors(sink, written, { metadata, maxShardBytes });
      const files = await openSafetensors(memorySource(sink.files));
      expect({ ...files.metadata }).toEqual(metadata);
      const read = await loadTensors(files, { device, dtype: "stored" });
      expect(Object.keys(read).sort()).toEqual(Object.keys(written).sort());
      for (const [name, { dtype, shape, bytes }] of Object.entries(tensors)) {
        expect([read[name]?.dtype, read[name]?.shape]).toEqual([dtype, shape]);
        expect(await read[name]?.bytes()).toEqual(bytes);
      }
      disposeTree([read, written]);
      expect(device.memory().buffers).toBe(0);
    }),
    { numRuns: 150 },
  );
});

const whole = new Uint8Array(readFileSync(new URL("../test/golden/llama.safetensors", import.meta.url)));

/** Opens and loads; true where the bytes were accepted, false where they were refused as they should be. */
async function isAccepted(bytes: Uint8Array): Promise<boolean> {
  const device = reference();
  try {
    disposeTree(
      await loadTensors(await openSafetensors(memorySource({ "model.safetensors": bytes })), { device }),
    );
    return true;
  } catch (error) {
    if (!HeddleError.is(error) || !["format", "dtype"].includes(error.code)) throw error;
    return false;
  } finally {
    expect(device.memory().buffers).toBe(0);
  }
}

test("random bytes are refused with a HeddleError", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
      expect(await isAccepted(bytes)).toBe(false);
    }),
    { numRuns: 500 },
  );
});

test("a header with changed bytes is refused with a HeddleError or still obeys the format", async () => {
  const change = fc.record({ at: fc.integer({ min: 0, max: 2095 }), byte: fc.integer({ min: 0, max: 255 }) });
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
      const bytes = whole.slice();
      for (const { at, byte } of changes) bytes[at] = byte;
      await isAccepted(bytes);
    }),
    { numRuns: 400 },
  );
});

test("a JSON header of any form is refused with a HeddleError", async () => {
  await fc.assert(
    fc.asyncProperty(fc.json({ maxDepth: 4 }), async (json) => {
      const text = new TextEncoder().encode(json);
      const bytes = new Uint8Array(8 + text.byteLength);
      new DataView(bytes.buffer).setUint32(0, text.byteLength, true);
      bytes.set(text, 8);
      if (await isAccepted(bytes)) expect(json.startsWith("{")).toBe(true);
    }),
    { numRuns: 400 },
  );
});
