import { reference, tensor, zeros } from "@heddle/tensor";
import { expect, test } from "vitest";
import { namedTensors, treeFromNamed } from "./tree-tensors.js";

test("a tree becomes names and back", () => {
  const device = reference();
  const like = { layers: [{ scale: zeros(device, [2]) }, { scale: zeros(device, [2]) }] };
  expect(Object.keys(namedTensors(like))).toEqual(["layers.0.scale", "layers.1.scale"]);
  const named = { "layers.1.scale": tensor(device, [3, 4]), "layers.0.scale": tensor(device, [1, 2]) };
  const tree = treeFromNamed(like, named);
  expect(tree.layers[1]?.scale).toBe(named["layers.1.scale"]);
});

test("everything that does not fit is listed at once", () => {
  const device = reference();
  const like = { a: zeros(device, [2]), b: zeros(device, [3], { dtype: "f32" }) };
  const named = { b: zeros(device, [3]), c: zeros(device, []) };
  expect(() => treeFromNamed(like, named)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: treeFromNamed: the tensors must fit the tree; got missing a f64 [2]; b is f64 [3], expected f32 [3]; left over c. Load with the configuration it was saved with.]`,
  );
});

test("leaves must be tensors, and paths differ", () => {
  const device = reference();
  expect(() => namedTensors({ step: 3 })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: namedTensors: every leaf must be a Tensor; got number at "step". Keep plain values in \`state\`.]`,
  );
  const x = zeros(device, []);
  expect(() => namedTensors({ "a.b": x, a: { b: x } })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: namedTensors: paths must differ; got "a.b" twice. Use keys without dots.]`,
  );
});
