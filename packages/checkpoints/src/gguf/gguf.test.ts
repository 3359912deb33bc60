import { readFileSync } from "node:fs";
import { HeddleError, reference } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { cutSource } from "../../test/broken-source.js";
import { memorySink } from "../file-sink.js";
import { type FileSource, memorySource } from "../file-source.js";
import type { GgufValue } from "./gguf-value.js";
import { loadGgufTensor } from "./load-gguf-tensor.js";
import { openGguf } from "./open-gguf.js";
import { quantize } from "./quantize.js";
import { type GgufContent, type GgufTensorData, writeGguf } from "./write-gguf.js";

async function errorOf(promise: Promise<unknown>): Promise<HeddleError> {
  try {
    await promise;
  } catch (error) {
    if (HeddleError.is(error)) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

async function written(content: Partial<GgufContent>, file = "m.gguf"): Promise<Uint8Array> {
  const sink = memorySink();
  await writeGguf(sink, file, { metadata: new Map(), tensors: new Map(), ...content });
  return sink.files[file] ?? new Uint8Array();
}

const open = (bytes: Uint8Array) => openGguf(memorySource({ "m.gguf": bytes }), "m.gguf");
const ramp = Float32Array.from({ length: 64 }, (_, i) => (i - 31.5) / 8);
const f32 = (values: readonly number[]): GgufTensorData => ({
  type: "F32",
  shape: [values.length],
  bytes: new Uint8Array(Float32Array.from(values).buffer),
});

/** A header written by hand: u32, u64 and text by position. */
function bytesOf(...parts: (number | bigint | string)[]): Uint8Array {
  const buffers = parts.map((part) => {
    if (typeof part === "string") return Buffer.from(part);
    const out = Buffer.alloc(typeof part === "number" ? 4 : 8);
    if (typeof part === "number") out.writeUInt32LE(part);
    else out.writeBigUInt64LE(part);
    return out;
  });
  return new Uint8Array(Buffer.concat(buffers));
}

describe("reading", () => {
  test.each([2, 3])("a file of version %i made by hand", async (version) => {
    const head = bytesOf("GGUF", version, 1n, 1n, 1n, "k", 4, 7, 1n, "t", 2, 2n, 3n, 0, 0n);
    const bytes = new Uint8Array(Math.ceil(head.byteLength / 32) * 32 + 24);
    bytes.set(head);
    new DataView(bytes.buffer).setFloat32(bytes.byteLength - 4, 2.5, true);
    const files = await open(bytes);
    expect([...files.metadata]).toEqual([["k", { type: "u32", value: 7 }]]);
    expect(files.tensors.get("t")).toMatchObject({
      type: "F32",
      shape: [3, 2],
      byteOffset: 96,
      byteLength: 24,
    });
    const tensor = await loadGgufTensor(files, "t", { device: reference() });
    expect([tensor.shape, Array.from(await tensor.data())]).toEqual([
      [3, 2],
      [0, 0, 0, 0, 0, 2.5],
    ]);
  });

  test("quantised blocks are dequantised, plain types kept or cast", async () => {
    const device = reference();
    const tensors = new Map<string, GgufTensorData>([
      ["q", { type: "Q8_0", shape: [2, 32], bytes: quantize("Q8_0", ramp) }],
      ["h", { type: "F16", shape: [1], bytes: new Uint8Array([0, 0x3c]) }],
      ["i", { type: "I32", shape: [], bytes: new Uint8Array([7, 0, 0, 0]) }],
      ["x", { type: "IQ1_S", shape: [256], bytes: async () => new Uint8Array(50) }],
    ]);
    const files = await open(await written({ tensors }));
    const q = await loadGgufTensor(files, "q", { device, dtype: "f32" });
    expect([q.dtype, q.shape]).toEqual(["f32", [2, 32]]);
    for (const [i, value] of (await q.data()).entries())
      expect(Math.abs(value - (ramp[i] ?? 0))).toBeLessThan(0.02);
    const h = await loadGgufTensor(files, "h", { device, dtype: "stored" });
    expect([h.dtype, await h.item()]).toEqual(["f16", 1]);
    const i = await loadGgufTensor(files, "i", { device });
    expect([i.dtype, i.shape, await i.item()]).toEqual(["i32", [], 7]);
    for (const tensor of [q, h, i]) tensor.dispose();
    expect((await errorOf(loadGgufTensor(files, "x", { device }))).code).toBe("unsupported");
    expect((await errorOf(loadGgufTensor(files, "y", { device }))).message).toMatchInlineSnapshot(
      `"gguf: the tensor must exist; got file "m.gguf", tensor "y". Ask for one of \`tensors\`."`,
    );
    expect(device.memory().buffers).toBe(0);
  });

  test("only the header is fetched, in growing ranges", async () => {
    const words = Array.from({ length: 150_000 }, (_, i) => `token ${i}`);
    const metadata = new Map<string, GgufValue>([
      ["words", { type: "array", itemType: "string", value: words }],
    ]);
    const data = { type: "F32", shape: [3_000_000], bytes: new Uint8Array(12_000_000) } as const;
    const whole = memorySource({ "m.gguf": await written({ metadata, tensors: new Map([["t", data]]) }) });
    const ranges: number[][] = [];
    const source: FileSource = {
      ...whole,
      read: (name, start, end) => {
        ranges.push([start, end]);
        return whole.read(name, start, end);
      },
    };
    const files = await openGguf(source, "m.gguf");
    expect(files.metadata.get("words")?.value).toEqual(words);
    expect(ranges).toEqual([
      [0, 2 ** 20],
      [0, 2 ** 23],
    ]);
  });
});

test("fingerprints differ with any byte of the header, the size and the time of change, and with nothing else", async () => {
  const words = Array.from({ length: 40_000 }, (_, i) => `token ${i}`);
  const metadata = new Map<string, GgufValue>([
    ["words", { type: "array", itemType: "string", value: words }],
  ]);
  const data = { type: "F32", shape: [64], bytes: new Uint8Array(256) } as const;
  const whole = await written({ metadata, tensors: new Map([["t", data]]) });
  const printOf = async (bytes: Uint8Array, modified = 1) => {
    const source = { ...memorySource({ "m.gguf": bytes }), modified: async () => modified };
    const files = await openGguf(source, "m.gguf");
    const print = await files.fingerprint();
    expect(await files.fingerprint({ isAnew: true })).toBe(print);
    return print;
  };
  const changed = (at: number) => whole.map((byte, i) => (i === at ? byte ^ 1 : byte));
  const plain = await printOf(whole);
  expect(await printOf(whole.slice())).toBe(plain);
  // A digit of a word in the first piece that is hashed, and in the last.
  const digits = [whole.indexOf(0x39), whole.lastIndexOf(0x39)];
  expect((digits[1] ?? 0) - (digits[0] ?? 0)).toBeGreaterThan(2 ** 19);
  const prints = [plain, await printOf(whole, 2), await printOf(new Uint8Array([...whole, 0]))];
  for (const at of digits) prints.push(await printOf(changed(at)));
  expect(new Set(prints).size).toBe(5);
  expect(await printOf(changed(whole.byteLength - 1))).toBe(plain);
});

test("a fingerprint takes the header as it was read, or reads it anew", async () => {
  const bytes = await written({
    metadata: new Map([["general.name", { type: "string", value: "one" }]]),
    tensors: new Map([["t", { type: "F32", shape: [64], bytes: new Uint8Array(256) }]]),
  });
  const inside = memorySource({ "m.gguf": bytes });
  let reads = 0;
  const source: typeof inside = {
    ...inside,
    read: (...range) => {
      reads++;
      return inside.read(...range);
    },
  };
  const files = await openGguf(source, "m.gguf");
  const readsToOpen = reads;
  const print = await files.fingerprint();
  expect(reads).toBe(readsToOpen);
  const name = bytes.findIndex((_, at) => String.fromCharCode(...bytes.subarray(at, at + 3)) === "one");
  bytes[name] = "a".charCodeAt(0);
  expect(await files.fingerprint({ isAnew: true })).not.toBe(print);
  expect(reads).toBeGreaterThan(readsToOpen);
});

test("a file of llama.cpp's own writer", async () => {
  const device = reference();
  const files = await open(
    new Uint8Array(readFileSync(new URL("../../test/golden/gguf/sample.gguf", import.meta.url))),
  );
  expect(Object.fromEntries(files.metadata)).toEqual({
    "general.architecture": { type: "string", value: "llama" },
    "a.u32": { type: "u32", value: 7 },
    "a.i8": { type: "i8", value: -3 },
    "a.f32": { type: "f32", value: Math.fround(1e-5) },
    "a.bool": { type: "bool", value: true },
    "a.u64": { type: "u64", value: 2n ** 63n },
    "a.f64": { type: "f64", value: 0.1 },
    "a.text": { type: "string", value: "\ufeffgrüße" },
    "a.words": { type: "array", itemType: "string", value: ["x", "", "▁y"] },
    "a.scores": { type: "array", itemType: "f32", value: [0.5, -1] },
    "a.ids": { type: "array", itemType: "i32", value: [1, 2, 3] },
  });
  const half = await loadGgufTensor(files, "half", { device, dtype: "f32" });
  expect([half.shape, Array.from(await half.data())]).toEqual([
    [2, 3],
    [0, 1, 2, 3, 4, 5],
  ]);
  expect(files.tensors.get("quant")).toMatchObject({ type: "Q8_0", shape: [2, 64], byteLength: 136 });
  const values = Float32Array.from({ length: 128 }, (_, i) => -1 + (2 * i) / 127);
  expect(await files.read("quant")).toEqual(quantize("Q8_0", values));
});

describe("split models", () => {
  const part = (no: number, count: number, tensors: Map<string, GgufTensorData>, total = 2) =>
    written({
      metadata: new Map<string, GgufValue>([
        ["split.no", { type: "u16", value: no }],
        ["split.count", { type: "u16", value: count }],
        ["split.tensors.count", { type: "i32", value: total }],
      ]),
      tensors,
    });
  const a = new Map([["a", f32([1])]]);
  const b = new Map([["b", f32([2, 3])]]);

  test("all parts are opened, whichever is named", async () => {
    const source = memorySource({
      "m-00001-of-00002.gguf": await part(0, 2, a),
      "m-00002-of-00002.gguf": await part(1, 2, b),
    });
    const files = await openGguf(source, "m-00002-of-00002.gguf");
    expect([...files.tensors.keys()]).toEqual(["a", "b"]);
    expect(files.metadata.get("split.no")?.value).toBe(0);
    expect(new Float32Array((await files.read("b")).buffer)).toEqual(new Float32Array([2, 3]));
  });

  test("parts that do not belong together are refused", async () => {
    const cases: Record<string, Uint8Array>[] = [
      { "m-00001-of-00002.gguf": await part(0, 2, a) },
      { "m-00001-of-00002.gguf": await part(0, 2, a), "m-00002-of-00002.gguf": await part(0, 2, b) },
      { "m-00001-of-00002.gguf": await part(0, 2, a), "m-00002-of-00002.gguf": await part(1, 2, a) },
      { "m-00001-of-00001.gguf": await part(0, 1, a, 5) },
      { "m.gguf": await part(0, 2, a) },
    ];
    const messages = [];
    for (const files of cases) {
      const error = await errorOf(openGguf(memorySource(files), Object.keys(files)[0] ?? ""));
      expect(error.code).toBe("format");
      messages.push(error.message);
    }
    expect(messages).toMatchInlineSnapshot(`
      [
        "FileSource: the file must exist; got "m-00002-of-00002.gguf", there is m-00001-of-00002.gguf. Check the folder and the name.",
        "gguf: name and fields of a part must agree; got file "m-00002-of-00002.gguf", field "split.no", 0 where the name says 1. The file is damaged or not a GGUF file: copy it again.",
        "gguf: a tensor must occur once in all parts; got file "m-00002-of-00002.gguf", tensor "a", byte 160. The file is damaged or not a GGUF file: copy it again.",
        "gguf: the parts must hold all tensors; got file "m-00001-of-00001.gguf", field "split.tensors.count", 1 tensors where the first part says 5. The file is damaged or not a GGUF file: copy it again.",
        "gguf: a part of a split model must keep its name BASE-0000M-of-0000N.gguf; got file "m.gguf", field "split.count", 2 parts. Rename the parts as they were.",
      ]
    `);
  });
});

describe("damaged files", () => {
  const field = (...value: (number | bigint | string)[]) =>
    bytesOf("GGUF", 3, 0n, 1n, 1n, "k", ...value, 0n, 0n);
  const tensor = (...info: (number | bigint)[]) =>
    bytesOf("GGUF", 3, 1n, 0n, 1n, "t", ...info, 0n, 0n, 0n, 0n);
  test("each error names file, field or tensor, and byte", async () => {
    const cases = [
      bytesOf("GGML", 3, 0n, 0n),
      bytesOf("GGUF", 1, 0n, 0n),
      bytesOf("GGUF", 0x03000000, 0n, 0n),
      bytesOf("GGUF", 3, 2n ** 60n, 0n),
      bytesOf("GGUF", 3, 0n, 2n ** 60n),
      bytesOf("GGUF", 3, 0n),
      field(13),
      field(7, 2),
      field(8, 2n ** 63n),
      field(8, 1n, "\xff").map((byte, at) => (at === 45 ? 0xff : byte)),
      field(9, 6, 2n ** 40n),
      field(9, ...Array.from({ length: 9 }, () => [9, 1n]).flat()),
      bytesOf("GGUF", 3, 0n, 2n, 1n, "k", 4, 1, 1n, "k", 4, 1),
      bytesOf("GGUF", 3, 0n, 1n, 17n, "general.alignment", 4, 24),
      tensor(5),
      tensor(1, 2n ** 63n, 0, 0n),
      tensor(1, 1n, 99, 0n),
      tensor(1, 31n, 8, 0n),
      tensor(1, 4n, 0, 7n),
      tensor(1, 4n, 0, 32n),
    ];
    const messages = [];
    for (const bytes of cases) {
      const error = await errorOf(open(bytes));
      expect([error.code, error.details]).toMatchObject(["format", { file: "m.gguf" }]);
      messages.push(error.message.replace(" The file is damaged or not a GGUF file: copy it again.", ""));
    }
    expect(messages).toMatchInlineSnapshot(`
      [
        "gguf: a file must begin with GGUF; got file "m.gguf", field "magic", byte 0, 0x4c4d4747.",
        "gguf: the version must be 2 or 3, little-endian; got file "m.gguf", field "version", byte 4, version 1. Convert the file with llama.cpp's tools.",
        "gguf: the version must be 2 or 3, little-endian; got file "m.gguf", field "version", byte 4, a big-endian file. Convert the file with llama.cpp's tools.",
        "gguf: the tensors must fit in the rest of the file; got file "m.gguf", field "counts", byte 8, length 1152921504606846976, room 0.",
        "gguf: the metadata must fit in the rest of the file; got file "m.gguf", field "counts", byte 16, length 1152921504606846976, room 0.",
        "gguf: a file must not end inside its header; got file "m.gguf", field "counts", byte 16, file of 16 bytes, wanted up to 24.",
        "gguf: a value type must be 0 to 12; got file "m.gguf", field "k", byte 33, type 13.",
        "gguf: a bool must be 0 or 1; got file "m.gguf", field "k", byte 37, value 2.",
        "gguf: a string must fit in the rest of the file; got file "m.gguf", field "k", byte 37, length 9223372036854775808, room 16.",
        "gguf: a string must be UTF-8; got file "m.gguf", field "k", byte 45.",
        "gguf: an array must fit in the rest of the file; got file "m.gguf", field "k", byte 41, length 1099511627776, room 4.",
        "gguf: arrays must be nested at most 8 deep; got file "m.gguf", field "k", byte 133.",
        "gguf: a field must occur once; got file "m.gguf", field "k", byte 41.",
        "gguf: the alignment must be a u32 power of two; got file "m.gguf", field "general.alignment", byte 57, u32 24.",
        "gguf: a tensor must have at most 4 axes; got file "m.gguf", tensor "t", byte 33, 5 axes.",
        "gguf: an axis must be below 2^53; got file "m.gguf", tensor "t", byte 37, size 9223372036854775808.",
        "gguf: the tensor type must be known; got file "m.gguf", tensor "t", byte 45, type 99.",
        "gguf: rows of Q8_0 must be whole blocks of 32, the whole below 2^53 bytes; got file "m.gguf", tensor "t", byte 45, shape [31].",
        "gguf: a tensor must begin at a multiple of 32 inside its file; got file "m.gguf", tensor "t", byte 49, offset 7.",
        "gguf: a tensor must lie inside its file; got file "m.gguf", tensor "t", byte 89, tensor bytes 96 to 112, file of 89 bytes.",
      ]
    `);
  });

  test("overlapping tensors are refused", async () => {
    const bytes = await written({
      tensors: new Map([
        ["a", f32([1, 2])],
        ["b", f32([3])],
      ]),
    });
    bytes[bytes.indexOf(32, 24)] = 0; // offset of b
    expect((await errorOf(open(bytes))).message).toMatchInlineSnapshot(
      `"gguf: tensors must not overlap; got file "m.gguf", tensor "a", byte 96, taken up to 100. The file is damaged or not a GGUF file: copy it again."`,
    );
  });

  test("a file that shrinks after it was opened", async () => {
    const bytes = await written({ tensors: new Map([["a", f32([1, 2])]]) });
    const files = await openGguf(cutSource(memorySource({ "m.gguf": bytes }), 10_000), "m.gguf");
    expect((await files.read("a")).byteLength).toBe(8);
    const source = memorySource({ "m.gguf": bytes });
    const cut: FileSource = {
      ...source,
      read: (name, start, end) => source.read(name, start, start === 0 ? end : end - 3),
    };
    const error = await errorOf((await openGguf(cut, "m.gguf")).read("a"));
    expect(error.message).toMatchInlineSnapshot(
      `"gguf: a file must not end inside its data; got file "m.gguf", tensor "a", byte 69, bytes wanted up to 72. The file is damaged or not a GGUF file: copy it again."`,
    );
  });
});

test("content that the format cannot hold is refused", async () => {
  const one = (value: GgufValue) => ({ metadata: new Map([["k", value]]) });
  const named = (name: string, data: GgufTensorData) => ({ tensors: new Map([[name, data]]) });
  const cases: Partial<GgufContent>[] = [
    one({ type: "u8", value: 256 }),
    one({ type: "i32", value: 1.5 }),
    one({ type: "u64", value: -1n }),
    one({ type: "string", value: "\ud800" }),
    { metadata: new Map([["general.alignment", { type: "u32", value: 12 }]]) },
    named("x".repeat(64), f32([1])),
    named("t", { type: "Q4_0", shape: [2, 16], bytes: new Uint8Array(18) }),
    named("t", { type: "F32", shape: [2], bytes: new Uint8Array(4) }),
  ];
  const errors = [];
  for (const content of cases) errors.push(await errorOf(written(content)));
  expect(errors.map(({ code, message }) => `${code} ${message}`)).toMatchInlineSnapshot(`
    [
      "config writeGguf: the value must be a whole number from 0 to 255 as u8; got field "k", 256. Choose a wider type or mend the value.",
      "config writeGguf: the value must be a whole number from -2147483648 to 2147483647 as i32; got field "k", 1.5. Choose a wider type or mend the value.",
      "config writeGguf: the value must fit in u64; got field "k", -1. Choose a wider type or mend the value.",
      "config writeGguf: text must have a UTF-8 form; got field "k", "\\ud800". Choose a wider type or mend the value.",
      "config writeGguf: general.alignment must be a u32 power of two; got u32 12. Leave it out for 32.",
      "config writeGguf: a tensor name has at most 63 bytes; got "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 64 bytes. Shorten it.",
      "shape writeGguf: a tensor has at most 4 axes, Q4_0 rows are multiples of 32; got tensor "t", shape [2,16]. Reshape it or choose another type.",
      "shape writeGguf: F32 of shape [2] takes 8 bytes; got tensor "t", 4 bytes. Pass what \`quantize\` gives.",
    ]
  `);
});
