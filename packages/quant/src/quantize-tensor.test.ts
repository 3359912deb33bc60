import { cpu, HeddleError, reference, tensor, zeros } from "@heddle/tensor";
import { expect, test } from "vitest";
import { readGolden } from "../test/golden/read.js";
import { accessPanels } from "./panels.js";
import { type QuantScheme, quantizeTensor, roundGroup } from "./quantize-tensor.js";

const golden = readGolden("affine.safetensors");

const cases: readonly (readonly [name: string, scheme: QuantScheme])[] = [8, 4, 3].flatMap((bits) =>
  [true, false].flatMap((isSymmetric) => {
    const suffix = isSymmetric ? "sym" : "asym";
    const grouped = [`int${bits}_group16_${suffix}`, { bits, groupSize: 16, isSymmetric }] as const;
    return bits === 8 ? [grouped, [`int8_per_channel_${suffix}`, { bits, isSymmetric }] as const] : [grouped];
  }),
);

test.each(cases)("%s as torch rounds it", async (name, scheme) => {
  const device = reference();
  const { data, shape } = golden.get(`${name}.x`);
  const [rows = 0, columns = 0] = shape;
  using dense = tensor(device, data, { shape, dtype: "f32" });
  using weight = await quantizeTensor(dense, scheme);
  const { codes, scales } = weight.parts;
  const arrays = { codes: await codes?.data(), scales: await scales?.data() };
  const access = accessPanels(weight.layout, arrays as Parameters<typeof accessPanels>[1]);
  const expectedCodes = golden.get(`${name}.q`).data;
  const expectedScales = golden.get(`${name}.scale`).data;
  const perRow = expectedScales.length / rows;
  const isSymmetric = scheme.isSymmetric ?? true;
  // How the scheme's codes are stored: see `layoutOf`.
  const shift = weight.layout.codeBits === 8 && !isSymmetric ? 128 : -weight.layout.offset;
  using widened = weight.dequantize();
  const [values, expected] = [await widened.data(), golden.get(`${name}.dequant`).data];
  const groupSize = columns / perRow;
  let compared = 0;
  for (const [at, scale] of expectedScales.entries()) {
    const [row, group] = [Math.floor(at / perRow), at % perRow];
    const from = row * columns + group * groupSize;
    const part = data.subarray(from, from + groupSize);
    expect(arrays.scales?.[access.groupAt(row, group)]).toBe(scale);
    part.forEach((value, i) => {
      expect(Math.abs(value - (values[from + i] ?? 0))).toBeLessThanOrEqual(scale * 0.5001);
    });
    // The file's zeros belong to the numbers before they were moved off ties: two lie at ties themselves and are not compared.
    const zero = -Math.min(0, ...part) / scale;
    if (!isSymmetric && Math.abs(zero - Math.floor(zero) - 0.5) < 0.01) continue;
    for (let i = 0; i < groupSize; i++) {
      expect(access.code(row, group * groupSize + i) + shift).toBe(expectedCodes[from + i]);
      expect(values[from + i]).toBeCloseTo(expected[from + i] ?? Number.NaN, 5);
    }
    compared++;
  }
  expect(compared).toBeGreaterThanOrEqual(expectedScales.length - 2);
});

test("per-channel int8 multiplies as whole numbers do", async () => {
  const sw = golden.get("w8a8.sw").data;
  const { data, shape } = golden.get("w8a8.w");
  const [rows = 0, columns = 0] = shape;
  const whole = golden.get("w8a8.qw").data;
  for (let row = 0; row < rows; row++) {
    const part = Float32Array.from(data.subarray(row * columns, (row + 1) * columns));
    const { scale, codes } = roundGroup(part, { bits: 8 });
    expect(scale).toBeCloseTo(sw[row] ?? 0, 7);
    expect(Array.from(codes)).toEqual(Array.from(whole.subarray(row * columns, (row + 1) * columns)));
  }
  // One block of 32 inputs is one token's scale: the kernel's product is that of the golden file.
  const device = cpu({ threads: 1 });
  const x = golden.get("w8a8.x");
  using input = tensor(device, x.data, { shape: x.shape, dtype: "f32" });
  using dense = tensor(device, data, { shape, dtype: "f32" });
  using weight = await quantizeTensor(dense, { bits: 8 });
  using y = weight.apply(input);
  const expected = golden.get("w8a8.out").data;
  for (const [i, value] of y.dataSync().entries()) expect(value).toBeCloseTo(expected[i] ?? Number.NaN, 4);
  device.dispose();
});

test("refusals say the rule, the values and the cure", async () => {
  const device = reference();
  const refused = async (shape: readonly number[], scheme: QuantScheme, values?: number[]) => {
    const weight = values ? tensor(device, values, { shape }) : zeros(device, shape);
    try {
      await quantizeTensor(weight, scheme);
      return "nothing";
    } catch (error) {
      return error instanceof HeddleError ? `${error.code}: ${error.message}` : error;
    }
  };
  expect([
    await refused([4], { bits: 8 }),
    await refused([2, 32], { bits: 9 }),
    await refused([2, 32], { bits: 4, groupSize: 24 }),
    await refused([1, 2], { bits: 4 }, [1, Number.NaN]),
  ]).toMatchInlineSnapshot(`
    [
      "shape: quantizeTensor: the weight must be a matrix [out, in]; got [4]. Reshape it.",
      "config: quantizeTensor: bits must be 2..8; got 9. Use 4 or 8.",
      "config: quantizeTensor: groupSize must be 16 or a multiple of 32; got 24. Use 32, 64 or 128, or leave it out for one scale an output.",
      "config: quantizeTensor: weights must be finite; got NaN at [0, 1]. Mend the weights.",
    ]
  `);
});
