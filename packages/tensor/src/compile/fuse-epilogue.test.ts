import { describe, expect, test } from "vitest";
import {
  compile,
  cpu,
  gelu,
  matmul,
  randn,
  reference,
  scope,
  silu,
  type Tensor,
  writeInto,
} from "../index.js";

type Args = readonly [x: Tensor, w: Tensor, v: Tensor, bias: Tensor, residual: Tensor];
const [T, E, F] = [5, 19, 23];

/** Runs a function directly and compiled on the same numbers, compares to the bit, and tells the launches. */
function launchesOf(
  device: ReturnType<typeof cpu>,
  fn: (...args: Args) => readonly Tensor[],
  rows = T,
): string[] {
  const before = device.memory().buffers;
  const launches = scope(device, () => {
    const make = (): Args => [
      randn(device, [rows, E], { seed: 1 }),
      randn(device, [F, E], { seed: 2 }),
      randn(device, [F, E], { seed: 3 }),
      randn(device, [F], { seed: 4 }),
      randn(device, [rows, F], { seed: 5 }),
    ];
    const [direct, replayed] = [make(), make()];
    const compiled = compile(fn);
    for (let call = 0; call < 2; call++) {
      const [expected, actual] = [fn(...direct), compiled(...replayed)];
      const bits = (tensors: readonly Tensor[]) => tensors.map((x) => Array.from(x.dataSync()));
      expect(bits([...actual, ...replayed])).toEqual(bits([...expected, ...direct]));
    }
    const [report] = compiled.plans();
    compiled.dispose();
    return report?.launches.map(({ name }) => name) ?? [];
  });
  expect(device.memory().buffers).toBe(before);
  return launches;
}

const apply = (x: Tensor, w: Tensor) => matmul(x, w, { transposeB: true });

describe.each([
  ["one thread", cpu({ threads: 1 })],
  ["two threads", cpu({ threads: 2 })],
  ["no relaxed SIMD", cpu({ threads: 1, disable: { relaxedSimd: true } })],
])("what stands behind a product runs in its kernel, %s", (_, device) => {
  const one = ["matmulEpilogue"];

  test.each([1, 3, T, 70])("bias, scale, activation and residual of %i rows", (rows) => {
    expect(launchesOf(device, (x, w, _v, b) => [apply(x, w).add(b)], rows)).toEqual(one);
    expect(launchesOf(device, (x, w, _v, b) => [apply(x, w).add(b.reshape([1, F]))], rows)).toEqual(one);
    expect(launchesOf(device, (x, w) => [apply(x, w).mul(0.25)], rows)).toEqual(one);
    expect(launchesOf(device, (x, w, _v, b) => [gelu(apply(x, w).add(b))], rows)).toEqual(one);
    expect(launchesOf(device, (x, w, _v, b, r) => [r.add(apply(x, w).add(b))], rows)).toEqual(one);
  });

  test("a gate reads the other product", () => {
    const gated = (x: Tensor, w: Tensor, v: Tensor) => [silu(apply(x, w)).mul(apply(x, v))];
    expect(launchesOf(device, gated)).toEqual(["matmul", ...one]);
  });

  test("a view of the product with more axes is the same rows", () => {
    const fn = (x: Tensor, w: Tensor, _v: Tensor, b: Tensor) => [apply(x, w).reshape([1, T, 1, F]).add(b)];
    expect(launchesOf(device, fn)).toEqual(one);
  });

  test("products of batches", () => {
    const fn = (x: Tensor, w: Tensor) => {
      const batch = x.reshape([1, T, E]).broadcastTo([3, T, E]);
      const weights = w.transpose().reshape([1, E, F]).broadcastTo([3, E, F]);
      return [matmul(batch, weights).mul(2).add(matmul(batch, weights))];
    };
    expect(launchesOf(device, fn).filter((name) => name.startsWith("matmul"))).toEqual(["matmul", ...one]);
  });

  test("a product that is needed elsewhere keeps its own kernel", () => {
    const both = ["matmul", "fused"];
    expect(
      launchesOf(device, (x, w, _v, b) => {
        const y = apply(x, w);
        return [y, y.add(b)];
      }),
    ).toEqual(both);
    expect(
      launchesOf(device, (x, w, _v, b) => {
        const y = apply(x, w);
        return [y.add(b), y.sum()];
      }).toSorted(),
    ).toEqual([...both, "sum"].toSorted());
  });

  test("a product is not put off past a change of what it reads", () => {
    const fn = (x: Tensor, w: Tensor, _v: Tensor, b: Tensor, r: Tensor) => {
      const y = apply(x, w);
      writeInto(x, r.narrow(1, 0, E));
      return [y.add(b)];
    };
    expect(launchesOf(device, fn)).toContain("matmul");
  });

  test("an epilogue that overwrites its own input stays apart", () => {
    const fn = (x: Tensor, w: Tensor, _v: Tensor, _b: Tensor, r: Tensor) => {
      writeInto(r, r.sub(apply(x, w).mul(0.5)));
      return [r.sum()];
    };
    expect(launchesOf(device, fn)[0]).toBe("matmul");
  });
});

test("devices without such kernels run the chain as they did", () => {
  const device = reference();
  scope(device, () => {
    const compiled = compile((x: Tensor, w: Tensor) => [matmul(x, w).add(1)]);
    const x = randn(device, [2, 2], { seed: 1 });
    compiled(x, x);
    expect(compiled.plans()[0]?.launches.map(({ name }) => name)).toEqual(["matmul", "fused"]);
    compiled.dispose();
  });
});
