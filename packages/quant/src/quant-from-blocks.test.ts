import { cpu, type GgmlType, HeddleError, reference } from "@heddle/tensor";
import { afterAll, describe, expect, test } from "vitest";
import { devices } from "../test/devices.js";
import { readGgmlBlocks } from "../test/golden/read.js";
import { quantBlockTypes } from "./panels-from-blocks.js";
import { formatOfBlocks, quantFromBlocks } from "./quant-from-blocks.js";

const golden = readGgmlBlocks();
const bytesOf = (text: string) => new Uint8Array(Buffer.from(text, "base64"));
const bits = (values: Float32Array) => Array.from(new Uint32Array(values.buffer));

describe.each(devices)("$name: what ggml's own library gives", ({ create }) => {
  const device = create();
  afterAll(() => device.dispose());

  test.each(Object.keys(golden))("%s, bit for bit", async (type) => {
    const { count, bytes, values } = golden[type] ?? { count: 0, bytes: "", values: "" };
    const before = device.memory().buffers;
    const blocks = bytesOf(bytes);
    {
      using weight = quantFromBlocks(device, type as GgmlType, blocks, [1, count]);
      using dense = weight.dequantize();
      expect(dense.shape).toEqual([1, count]);
      expect(bits(Float32Array.from(await dense.data()))).toEqual(
        bits(new Float32Array(bytesOf(values).buffer)),
      );
    }
    expect(device.memory().buffers).toBe(before);
  });
});

test("every type of the golden file is taken, and no other", () => {
  expect([...quantBlockTypes].sort()).toEqual(Object.keys(golden).sort());
});

test("bits per weight in memory", () => {
  const device = reference();
  const held = quantBlockTypes.map((type) => {
    const { count, bytes } = golden[type] ?? { count: 0, bytes: "" };
    const rowBytes = bytesOf(bytes);
    const rows = new Uint8Array(16 * rowBytes.length);
    for (let row = 0; row < 16; row++) rows.set(rowBytes, row * rowBytes.length);
    using weight = quantFromBlocks(device, type, rows, [16, count]);
    return [type, weight.bitsPerWeight];
  });
  expect(Object.fromEntries(held)).toEqual({
    Q4_0: 4.5,
    Q4_1: 5,
    Q5_0: 6.5,
    Q5_1: 7,
    Q8_0: 8.5,
    Q2_K: 5.25,
    Q3_K: 4.625,
    Q4_K: 4.75,
    Q5_K: 6.75,
    Q6_K: 6.625,
    IQ4_NL: 8.5,
    MXFP4: 9,
  });
});

test("refusals say the rule, the values and the cure", () => {
  const device = cpu({ threads: 1 });
  const refusals = [
    () => quantFromBlocks(device, "F16", new Uint8Array(64), [1, 32]),
    () => quantFromBlocks(device, "Q4_0", new Uint8Array(18), [1, 33]),
    () => quantFromBlocks(device, "Q4_0", new Uint8Array(17), [1, 32]),
    () => formatOfBlocks("IQ1_S"),
  ];
  const messages = refusals.map((refuse) => {
    try {
      refuse();
      return "nothing";
    } catch (error) {
      return error instanceof HeddleError ? `${error.code}: ${error.message}` : error;
    }
  });
  expect(messages).toMatchInlineSnapshot(`
    [
      "unsupported: quantFromBlocks: the type must be one of Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL MXFP4; got F16. Load floats as dense tensors, or requantise the file.",
      "shape: quantFromBlocks: Q4_0 takes 18 bytes for each 32 inputs; got [1, 33]. Pass the whole tensor with its shape [out, in].",
      "shape: quantFromBlocks: Q4_0 takes 18 bytes for each 32 inputs; got [1, 32], 17 bytes. Pass the whole tensor with its shape [out, in].",
      "unsupported: quantFromBlocks: the type must be one of Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL MXFP4; got IQ1_S. Load floats as dense tensors, or requantise the file.",
    ]
  `);
  device.dispose();
});
