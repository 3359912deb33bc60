import { describe, expect, test } from "vitest";
import {
  compile,
  crossEntropy,
  full,
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

describe("results", () => {
  const device = reference();

  test("that alias arguments share their memory and count as owners of it", () => {
    const fn = compile((a: Tensor) => {
      writeInto(a, a.add(1));
      return { same: a, view: a.reshape([2, 1]), copy: a.mul(1) };
    });
    const a = tensor(device, [1, 2]);
    const { same, view, copy } = fn(a);
    writeInto(a, tensor(device, [8, 9]));
    expect([...same.dataSync(), ...view.dataSync(), ...copy.dataSync()]).toEqual([8, 9, 8, 9, 2, 3]);
    a.dispose();
    expect([...same.dataSync()]).toEqual([8, 9]);
    same.dispose();
    expect([...view.dataSync()]).toEqual([8, 9]);
    fn.dispose();
  });

  test("that the function makes anew are the caller's own; caught ones are the caught", () => {
    const caught = tensor(device, [5, 6]);
    const fn = compile((a: Tensor) => ({ sum: a.sum(), made: full(device, [2], 7), caught }));
    const a = tensor(device, [1, 2]);
    const first = fn(a);
    writeInto(first.made, a);
    writeInto(first.caught, a);
    const second = fn(a);
    expect([...first.made.dataSync(), ...second.made.dataSync()]).toEqual([1, 2, 7, 7]);
    expect([...second.caught.dataSync(), ...caught.dataSync()]).toEqual([1, 2, 1, 2]);
  });
});

describe("errors", () => {
  test("thrown while tracing leave no buffers, and the next call traces again", () => {
    const device = reference();
    const a = tensor(device, [1, 2]);
    let isBroken = true;
    const fn = compile((x: Tensor) => {
      const shifted = x.add(full(device, [2], 3));
      const { grad } = valueAndGrad((w: Tensor) => w.mul(shifted).sum())(x);
      if (isBroken) throw new Error("not today");
      return grad;
    });
    const before = device.memory().buffers;
    expect(() => fn(a)).toThrow("not today");
    expect(() => fn(a)).toThrow("not today");
    expect(device.memory().buffers).toBe(before);
    isBroken = false;
    const result = fn(a);
    expect([...result.dataSync()]).toEqual([4, 5]);
    result.dispose();
    fn.dispose();
    expect(device.memory().buffers).toBe(before);
  });

  test("of a run leave no buffers", () => {
    const device = reference();
    const a = tensor(device, [1, 2]);
    const fn = compile((x: Tensor) => [x.add(1), x.sum()]);
    for (const result of fn(a)) result.dispose();
    const before = device.memory().buffers;
    const { alloc } = device;
    let calls = 0;
    device.alloc = (byteLength) => {
      if (++calls === 2) throw new Error("no room");
      return alloc(byteLength);
    };
    expect(() => fn(a)).toThrow("no room");
    expect(device.memory().buffers).toBe(before);
  });

  test("name what a traced function may not do", () => {
    const device = reference();
    const a = tensor(device, [1, 2]);
    const caught = zeros(device, [2]);
    expect(() => compile((x: Tensor) => writeInto(caught, x))(a)).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: writeInto: inside compile only an argument, or what was computed from one, may be written to; got f64[2] that the function made or caught. Pass it as an argument.]`,
    );
    expect(() => compile((x: Tensor) => x.dataSync())(a)).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: dataSync: a tensor has no values while compile traces it; got f64[2]. Return it from the compiled function and read it there.]`,
    );
    expect(() => compile((x: number) => x)(1)).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: compile: at least one argument must hold a tensor; got none. Pass the weights as a tree of tensors.]`,
    );
    const other = tensor(reference(), [1, 2]);
    expect(() => compile((x: Tensor, _y: Tensor) => x.neg())(a, other)).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: compile: all tensors must live on one device; got reference and reference. Move one with \`await tensor.to(device)\`.]`,
    );
    let leaked: Tensor | undefined;
    compile((x: Tensor) => {
      leaked = x;
      return x.neg();
    })(a);
    expect(() => compile((x: Tensor) => x.add(leaked as Tensor))(a)).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: compile: a traced tensor may not leave its trace; got f64[2] of another trace. Pass it as an argument.]`,
    );
  });
});

describe("a compiled function", () => {
  const device = reference();
  const w = tensor(device, [1, -2, 3]);
  const x = tensor(device, [4, 5, 6]);
  const loss = (weight: Tensor, input: Tensor) => gelu(weight.mul(input)).square().sum();

  test("inside valueAndGrad is part of the gradient", () => {
    const inner = compile(loss);
    const [plain, traced] = [loss, inner].map((fn) => valueAndGrad(fn)(w, x));
    expect([...(traced?.grad.dataSync() ?? [])]).toEqual([...(plain?.grad.dataSync() ?? [])]);
    expect(inner.plans()).toHaveLength(0);
  });

  test("inside another is part of its plan", () => {
    const inner = compile((a: Tensor, b: Tensor) => a.mul(b).neg());
    const outer = compile((a: Tensor, b: Tensor) => inner(a, b).add(b));
    expect([...outer(w, x).dataSync()]).toEqual([0, 15, -12]);
    expect(outer.plans()[0]?.launches.map(({ name }) => name)).toEqual(["fused"]);
    expect(inner.plans()).toHaveLength(0);
    expect([...inner(w, x).dataSync()]).toEqual([-4, 10, -18]);
    expect(inner.plans()).toHaveLength(1);
  });

  test("around a gradient of another", () => {
    const inner = compile(loss);
    const outer = compile((a: Tensor, b: Tensor) => valueAndGrad(inner)(a, b));
    const direct = valueAndGrad(loss)(w, x);
    const { value, grad } = outer(w, x);
    expect([...value.dataSync(), ...grad.dataSync()]).toEqual([
      ...direct.value.dataSync(),
      ...direct.grad.dataSync(),
    ]);
  });
});
