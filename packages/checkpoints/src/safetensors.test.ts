import { readFileSync } from "node:fs";
import { HeddleError, reference } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { cutSource } from "../test/broken-source.js";
import { memorySink } from "./file-sink.js";
import { type FileSource, memorySource } from "./file-source.js";
import { fromHalf } from "./gguf/half.js";
import { loadTensor, loadTensors } from "./load-tensors.js";
import { directorySource } from "./node/directory.js";
import { openSafetensors } from "./safetensors.js";
import { saveTensors } from "./save-tensors.js";

const golden = new URL("../test/golden/", import.meta.url).pathname;
const llamaBytes = () => new Uint8Array(readFileSync(`${golden}llama.safetensors`));

async function errorOf(promise: Promise<unknown>): Promise<HeddleError> {
  try {
    await promise;
  } catch (error) {
    if (HeddleError.is(error)) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("files that Hugging Face wrote", () => {
  test("writing what was read gives the same bytes", async () => {
    const device = reference();
    const source = memorySource({ "model.safetensors": llamaBytes() });
    const tensors = await loadTensors(await openSafetensors(source), { device, dtype: "stored" });
    const sink = memorySink();
    await saveTensors(sink, tensors);
    expect(Buffer.from(sink.files["model.safetensors"] ?? []).equals(Buffer.from(llamaBytes()))).toBe(true);
  });

  test("shards are read through their index", async () => {
    const device = reference();
    const files = await openSafetensors(directorySource(`${golden}sharded`));
    expect(files.tensors.size).toBe(21);
    expect(files.metadata).toEqual({ format: "pt" });
    const tensors = await loadTensors(files, { device, names: ["model.norm.weight"], dtype: "f32" });
    expect(Object.keys(tensors)).toEqual(["model.norm.weight"]);
    const values = await tensors["model.norm.weight"]?.data();
    const raw = await files.read("model.norm.weight");
    const first = new DataView(raw.buffer, raw.byteOffset).getUint16(0, true);
    expect(values?.[0]).toBe(new Float32Array(new Uint32Array([first << 16]).buffer)[0]);
  });
});

/** A file with one tensor of the given stored dtype. */
function fileOf(dtype: string, shape: number[], data: Uint8Array): FileSource {
  const header = new TextEncoder().encode(
    JSON.stringify({ x: { dtype, shape, data_offsets: [0, data.byteLength] } }),
  );
  const bytes = new Uint8Array(8 + header.byteLength + data.byteLength);
  new DataView(bytes.buffer).setUint32(0, header.byteLength, true);
  bytes.set(header, 8);
  bytes.set(data, 8 + header.byteLength);
  return memorySource({ "model.safetensors": bytes });
}

const bytesOf = (data: ArrayBufferView) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

describe("dtypes", () => {
  test.each([
    ["F64", bytesOf(new Float64Array([1.1, -2])), [1.1, -2], "f64"],
    ["F32", bytesOf(new Float32Array([0.5, -2])), [0.5, -2], "f64"],
    ["F16", bytesOf(new Uint16Array([0x3c00, 0xc100])), [1, -2.5], "f64"],
    ["BF16", bytesOf(new Uint16Array([0x3f80, 0xc020])), [1, -2.5], "f64"],
    ["I64", bytesOf(new BigInt64Array([5n, -6n])), [5, -6], "i32"],
    ["I32", bytesOf(new Int32Array([7, -8])), [7, -8], "i32"],
    ["U32", bytesOf(new Uint32Array([7, 4294967295])), [7, 4294967295], "u32"],
    ["I8", bytesOf(new Int8Array([9, -9])), [9, -9], "i8"],
    ["U8", new Uint8Array([1, 255]), [1, 255], "u8"],
    ["BOOL", new Uint8Array([1, 0]), [1, 0], "bool"],
  ] as const)("%s", async (stored, data, values, dtype) => {
    const files = await openSafetensors(fileOf(stored, [2], data));
    const tensor = await loadTensor(files, "x", { device: reference() });
    expect(tensor.dtype).toBe(dtype);
    expect(Array.from(await tensor.data())).toEqual(values);
  });

  test("floats become the dtype that is asked for, integers stay", async () => {
    const device = reference();
    const half = await openSafetensors(fileOf("F16", [1], bytesOf(new Uint16Array([0x3c01]))));
    expect((await loadTensor(half, "x", { device, dtype: "stored" })).dtype).toBe("f16");
    const wide = await loadTensor(half, "x", { device, dtype: "f32" });
    expect([wide.dtype, await wide.item()]).toEqual(["f32", 1 + 2 ** -10]);
    const ids = await openSafetensors(fileOf("I32", [1], bytesOf(new Int32Array([3]))));
    expect((await loadTensor(ids, "x", { device, dtype: "f32" })).dtype).toBe("i32");
  });

  test("all 256 codes of the 8-bit floats are widened exactly", async () => {
    const codes = Uint8Array.from({ length: 256 }, (_, code) => code);
    const signed = (code: number, size: number) => (code < 128 ? size : -size);
    // E5M2 is the upper half of a half float; E4M3, moved to its exponent, differs by 2^8 and has one NaN and no infinity.
    const laws = {
      F8_E5M2: (code: number) => fromHalf(code << 8),
      F8_E4M3: (code: number) =>
        (code & 127) === 127 ? Number.NaN : signed(code, fromHalf((code & 127) << 7) * 256),
    } as const;
    for (const [stored, law] of Object.entries(laws)) {
      const files = await openSafetensors(fileOf(stored, [256], codes));
      for (const dtype of ["f32", "bf16", "stored"] as const) {
        const tensor = await loadTensor(files, "x", { device: reference(), dtype });
        expect(tensor.dtype).toBe(dtype === "stored" ? "f16" : dtype);
        expect(Array.from(await tensor.data())).toEqual(Array.from(codes, law));
      }
    }
  });

  test("a value that does not fit and a dtype that no device holds are refused", async () => {
    const device = reference();
    const wide = await openSafetensors(fileOf("I64", [2], bytesOf(new BigInt64Array([1n, 2n ** 40n]))));
    const unsigned = await openSafetensors(fileOf("U64", [1], new Uint8Array(8)));
    const errors = [
      (await errorOf(loadTensor(wide, "x", { device }))).message,
      (await errorOf(loadTensor(unsigned, "x", { device }))).message,
      (await errorOf(unsigned.read("y"))).message,
    ];
    expect(errors).toMatchInlineSnapshot(`
      [
        "safetensors: an I64 value must fit in i32; got file "model.safetensors", tensor "x", byte 71, element 1. The file is damaged or not a safetensors file: copy it again.",
        "loadTensors: the dtype must be one that devices hold; got U64 in tensor "x". Convert the checkpoint to F32, BF16 or F16.",
        "safetensors: the tensor must exist; got file "model.safetensors", tensor "y". Ask for one of \`tensors\`.",
      ]
    `);
    expect(device.memory().buffers).toBe(0);
  });
});

describe("damaged files", () => {
  test("a header longer than the format allows is refused before anything is allocated", async () => {
    const bytes = new Uint8Array(16);
    new DataView(bytes.buffer).setBigUint64(0, 2n ** 62n, true);
    const error = await errorOf(openSafetensors(memorySource({ "model.safetensors": bytes })));
    expect(error.message).toMatchInlineSnapshot(
      `"safetensors: the header must be at most 100000000 bytes; got file "model.safetensors", byte 0, header of 4611686018427387904 bytes. The file is damaged or not a safetensors file: copy it again."`,
    );
  });

  test("every truncation of a file is noticed when it is opened", async () => {
    const whole = llamaBytes();
    for (const length of [0, 7, 8, 9, 500, 2095, 2096, 2097, 40_000, whole.byteLength - 1]) {
      const source = memorySource({ "model.safetensors": whole.slice(0, length) });
      const error = await errorOf(openSafetensors(source));
      expect(error.code).toBe("format");
      expect(error.details).toMatchObject({ file: "model.safetensors" });
    }
    const cut = memorySource({ "model.safetensors": whole.slice(0, 40_000) });
    expect((await errorOf(openSafetensors(cut))).message).toMatchInlineSnapshot(
      `"safetensors: a tensor must lie inside its file; got file "model.safetensors", tensor "model.layers.0.self_attn.o_proj.weight", byte 40000, tensor bytes 38192 to 42288, file of 40000 bytes. The file is damaged or not a safetensors file: copy it again."`,
    );
  });

  test("a file that shrinks after it was opened leaves nothing loaded", async () => {
    const device = reference();
    const source = memorySource({ "model.safetensors": llamaBytes() });
    const files = await openSafetensors(cutSource(source, 50_000));
    const error = await errorOf(loadTensors(files, { device }));
    expect(error.message).toMatchInlineSnapshot(
      `"safetensors: a file must not end inside its data; got file "model.safetensors", tensor "model.layers.1.mlp.down_proj.weight", byte 50000, bytes wanted up to 53680. The file is damaged or not a safetensors file: copy it again."`,
    );
    expect(device.memory().buffers).toBe(0);
  });

  test("index and shards must agree", async () => {
    const index = (map: unknown) => new TextEncoder().encode(JSON.stringify({ weight_map: map }));
    const open = (map: unknown) =>
      errorOf(
        openSafetensors(
          memorySource({ "model.safetensors.index.json": index(map), "a.safetensors": llamaBytes() }),
        ),
      );
    const errors = [
      await open(undefined),
      await open({ x: "../a.safetensors" }),
      await open({ x: "b.safetensors" }),
      await open({ "model.norm.weight": "a.safetensors" }),
    ];
    expect(errors.map(({ message }) => message)).toMatchInlineSnapshot(`
      [
        "safetensors: an index must hold a weight_map object; got file "model.safetensors.index.json". The file is damaged or not a safetensors file: copy it again.",
        "safetensors: weight_map must name a file beside the index; got file "model.safetensors.index.json", tensor "x", file "../a.safetensors". The file is damaged or not a safetensors file: copy it again.",
        "FileSource: the file must exist; got "b.safetensors", there is model.safetensors.index.json, a.safetensors. Check the folder and the name.",
        "safetensors: index and shards must agree; got file "a.safetensors", tensor "lm_head.weight", byte 2096, index places it in no file. The file is damaged or not a safetensors file: copy it again.",
      ]
    `);
  });

  test("a folder without weights says what it holds", async () => {
    const error = await errorOf(openSafetensors(memorySource({ "config.json": new Uint8Array(2) })));
    expect(error.message).toMatchInlineSnapshot(
      `"FileSource: the file must exist; got "model.safetensors", there is config.json. Check the folder and the name."`,
    );
  });
});
