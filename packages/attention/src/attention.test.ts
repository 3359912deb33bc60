import { type Device, type Tensor, valueAndGrad } from "@heddle/tensor";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { devices, worstExcess } from "../test/devices.js";
import {
  type Arrays,
  caseArrays,
  type GoldenCase,
  goldenCases,
  goldenOptions,
  goldenRules,
  goldenTensor,
  longCases,
} from "../test/golden/cases.js";
import { goldenArray } from "../test/golden/read.js";
import { attention, attentionWithLse } from "./attention.js";

type Weights = Readonly<Record<"q" | "k" | "v", Tensor>> & {
  readonly bias?: Tensor;
  readonly sinks?: Tensor;
};

/** Gradients of sum(out * d_out) with respect to everything that has one. */
function gradients(device: Device, which: GoldenCase, arrays: Arrays): Weights {
  const { mask, ...rules } = goldenRules(device, arrays);
  const weights: Weights = {
    q: goldenTensor(device, arrays, "q"),
    k: goldenTensor(device, arrays, "k"),
    v: goldenTensor(device, arrays, "v"),
    ...rules,
  };
  const dOut = goldenTensor(device, arrays, "d_out");
  const loss = ({ q, k, v, bias, sinks }: Weights) =>
    attention(q, k, v, goldenOptions(which, { mask, bias, sinks })).mul(dOut).sum();
  return valueAndGrad(loss)(weights).grad;
}

function forward(device: Device, which: GoldenCase, arrays: Arrays): { out: Tensor; lse: Tensor } {
  const [q, k, v] = ["q", "k", "v"].map((name) => goldenTensor(device, arrays, name)) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  return attentionWithLse(q, k, v, goldenOptions(which, goldenRules(device, arrays)));
}

describe.each(devices)("goldens on $name", ({ create, tolerance }) => {
  let device: Device;
  beforeAll(() => {
    device = create();
  });
  afterAll(() => device.dispose());

  /** `large_logits` and `long_*` have scores up to hundreds: their files advise five times the tolerance. */
  const near = (actual: ArrayLike<number>, expected: ArrayLike<number>, factor: number) =>
    expect(worstExcess(actual, expected, factor * tolerance.relative)).toBeLessThanOrEqual(
      factor * tolerance.absolute,
    );

  test.each(goldenCases)("$name: values", (which) => {
    const arrays = caseArrays(which);
    const { out, lse } = forward(device, which, arrays);
    const factor = which.name === "large_logits" ? 5 : 1;
    near(out.dataSync(), goldenArray(arrays, "out").data, factor);
    near(lse.dataSync(), goldenArray(arrays, "lse").data, factor);
  });

  test.each(goldenCases)("$name: gradients", (which) => {
    const arrays = caseArrays(which);
    const found = gradients(device, which, arrays);
    const factor = which.name === "large_logits" ? 5 : 1;
    for (const [name, gradient] of Object.entries(found)) {
      if (gradient === undefined || !arrays.has(`d_${name}`)) continue;
      near(gradient.dataSync(), goldenArray(arrays, `d_${name}`).data, factor);
    }
  });

  test.each(longCases)("$name: values and gradients", (which) => {
    const arrays = caseArrays(which);
    const rows = goldenArray(arrays, "rows").data;
    const { out, lse } = forward(device, which, arrays);
    const { q, k, v } = gradients(device, which, arrays);
    near(lse.dataSync(), goldenArray(arrays, "lse").data, 5);
    for (const [name, found] of Object.entries({ out, d_q: q, d_k: k, d_v: v })) {
      const { data, shape } = { data: found.dataSync(), shape: found.shape };
      near(pickRows(data, shape, rows), goldenArray(arrays, `${name}_rows`).data, 5);
      near(sumLast(data, shape), goldenArray(arrays, `${name}_rowsum`).data, 10);
    }
  });
});

function pickRows(data: ArrayLike<number>, shape: readonly number[], rows: ArrayLike<number>): number[] {
  const [batch = 0, heads = 0, length = 0, width = 0] = shape;
  const picked: number[] = [];
  for (let head = 0; head < batch * heads; head++) {
    for (const row of Array.from(rows)) {
      for (let i = 0; i < width; i++) picked.push(data[(head * length + row) * width + i] ?? Number.NaN);
    }
  }
  return picked;
}

function sumLast(data: ArrayLike<number>, shape: readonly number[]): number[] {
  const width = shape[3] ?? 1;
  return Array.from({ length: data.length / width }, (_, row) => {
    let sum = 0;
    for (let i = 0; i < width; i++) sum += data[row * width + i] ?? Number.NaN;
    return sum;
  });
}
