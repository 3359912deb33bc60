import { expect, test } from "vitest";
import type { OpSpec } from "../op.js";
import { groupSteps } from "./group-steps.js";
import type { Step } from "./step.js";

const product: OpSpec = { name: "product", infer: () => [], isGrouped: true };
const other: OpSpec = { name: "other", infer: () => [] };
const place = (memory: number) => ({ type: { shape: [1], dtype: "f32" as const }, memory });
const step = (spec: OpSpec, inputs: number[], outputs: number[]): Step => ({
  spec,
  params: {},
  inputs: inputs.map(place),
  outputs: outputs.map(place),
  ops: 1,
});
const text = (steps: readonly Step[]) =>
  steps.map(({ spec, outputs }) => `${spec.name} ${outputs[0]?.memory}`).join(", ");

test("independent products move together, past what does not concern them", () => {
  const steps = [
    step(product, [0, 1], [2]),
    step(other, [2], [3]),
    step(product, [0, 4], [5]),
    step(other, [5], [6]),
  ];
  expect(text(groupSteps(steps))).toBe("product 2, product 5, other 3, other 6");
});

test("a product stays behind what it reads, and behind what reads the memory that it writes", () => {
  const chain = [step(product, [0, 1], [2]), step(other, [2], [3]), step(product, [3, 4], [5])];
  expect(text(groupSteps(chain))).toBe(text(chain));
  const reused = [step(product, [0, 1], [2]), step(other, [7], [3]), step(product, [0, 4], [7])];
  expect(text(groupSteps(reused))).toBe(text(reused));
});

test("other ops keep their order", () => {
  const steps = [step(other, [0], [1]), step(product, [0], [2]), step(other, [0], [3])];
  expect(text(groupSteps(steps))).toBe(text(steps));
});
