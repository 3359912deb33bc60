import { expect, test } from "vitest";
import {
  compile,
  crossEntropy,
  gelu,
  mapTree,
  randn,
  reference,
  rmsNorm,
  type Tensor,
  tensor,
  valueAndGrad,
  writeInto,
  zeros,
} from "../index.js";

test("a compiled training step gives the numbers of the eager one and allocates nothing after the first call", () => {
  const device = reference();
  const make = () => ({
    weights: {
      a: randn(device, [4, 3], { seed: 1 }),
      b: randn(device, [5, 4], { seed: 2 }),
      n: randn(device, [4], { seed: 5 }),
    },
    moments: { a: zeros(device, [4, 3]), b: zeros(device, [5, 4]), n: zeros(device, [4]) },
    loss: zeros(device, []),
  });
  const x = randn(device, [2, 3], { seed: 3 });
  const y = tensor(device, new Int32Array([1, 4]));
  type State = ReturnType<typeof make>;
  const step = (state: State, input: Tensor, target: Tensor) => {
    const { value, grad } = valueAndGrad((p: State["weights"]) =>
      crossEntropy(p.b.apply(rmsNorm(gelu(p.a.apply(input)), p.n)), target),
    )(state.weights);
    for (const key of ["a", "b", "n"] as const) {
      const moment = state.moments[key].mul(0.9).add(grad[key].mul(0.1));
      writeInto(state.moments[key], moment);
      writeInto(state.weights[key], state.weights[key].sub(moment.mul(0.5)));
    }
    writeInto(state.loss, value);
  };
  const eager = make();
  const replayed = make();
  const compiled = compile(step);
  for (let i = 0; i < 5; i++) {
    step(eager, x, y);
    const before = device.memory().allocations;
    compiled(replayed, x, y);
    if (i > 0) expect(device.memory().allocations).toBe(before);
    mapTree<Tensor, State>(eager, (leaf, path) => {
      const other = path
        .split(".")
        .reduce<unknown>((node, key) => (node as Record<string, unknown>)[key], replayed) as Tensor;
      expect([...other.dataSync()], path).toEqual([...leaf.dataSync()]);
      return leaf;
    });
  }
  const [report] = compiled.plans();
  expect(report?.launches.length).toBeLessThan(40);
  expect(compiled.plans().length).toBe(1);
});

test("results may be arguments, constants and shared", () => {
  const device = reference();
  const fn = compile((a: Tensor, n: number) => {
    const b = a.add(tensor(device, [1, 2]));
    return { a, b, again: b.reshape([2, 1]), n, c: tensor(device, [7]) };
  });
  const a = tensor(device, [10, 20]);
  const before = device.memory();
  fn(a, 1).b.dispose();
  const { b, again, c, n } = fn(a, 2);
  expect([...b.dataSync(), ...again.dataSync(), ...c.dataSync(), n]).toEqual([11, 22, 11, 22, 7, 2]);
  expect(fn.plans().length).toBe(2);
  expect(before.buffers).toBe(1);
});
