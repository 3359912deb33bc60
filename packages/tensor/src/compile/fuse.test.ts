import { describe, expect, test } from "vitest";
import { cpu, type Device, reference, scope, type Tensor, tensor, writeInto } from "../index.js";
import { compile } from "./compile.js";

/** Runs `fn` directly and compiled, three times each, and compares results and arguments; returns the plan's launches. */
function launchesOf(
  device: Device,
  fn: (...args: Tensor[]) => readonly Tensor[],
  make: () => readonly Tensor[],
): string[] {
  return scope(device, () => {
    const compiled = compile(fn);
    const [direct, replayed] = [make(), make()];
    for (let call = 0; call < 3; call++) {
      const [expected, actual] = [fn(...direct), compiled(...replayed)];
      const numbers = (tensors: readonly Tensor[]) => tensors.map((x) => Array.from(x.dataSync()));
      expect(numbers([...actual, ...replayed])).toEqual(numbers([...expected, ...direct]));
    }
    const [report] = compiled.plans();
    compiled.dispose();
    return report?.launches.map(({ name }) => name) ?? [];
  });
}

const devices = [
  ["reference", reference],
  ["cpu", () => cpu({ threads: 1 })],
] as const;

describe.each(devices)("fuse, %s", (_, makeDevice) => {
  const device = makeDevice();
  const x = () => tensor(device, new Float32Array([1, 2, 3, 4, 5, 6]), { shape: [2, 3] });
  const y = () => tensor(device, new Float32Array([6, -5, 4, -3, 2, -1]), { shape: [2, 3] });
  const row = () => tensor(device, new Float32Array([1, 0, -1]), { shape: [3] });

  test("joins a chain of elementwise ops into one launch, with every result that is read outside", () => {
    const fn = (a: Tensor, b: Tensor) => {
      const sum = a.add(b);
      const product = sum.mul(a).neg();
      return [sum, product];
    };
    expect(launchesOf(device, fn, () => [x(), y()])).toEqual(["fused"]);
  });

  test("joins separate chains where they meet", () => {
    const fn = (a: Tensor, b: Tensor) => [a.mul(2).add(b.mul(3))];
    expect(launchesOf(device, fn, () => [x(), y()])).toEqual(["fused"]);
  });

  test("drops what nobody reads", () => {
    const fn = (a: Tensor) => {
      a.exp().sum();
      return [a.add(1)];
    };
    expect(launchesOf(device, fn, () => [x()])).toEqual(["fused"]);
  });

  test("reads a result under another shape only after it is stored", () => {
    const fn = (a: Tensor) => {
      const sum = a.add(1);
      return [sum.reshape([3, 2]).mul(2)];
    };
    expect(launchesOf(device, fn, () => [x()])).toEqual(["fused", "fused"]);
  });

  test("broadcasts a result of its own only after it is stored", () => {
    const fn = (a: Tensor, b: Tensor) => {
      const shifted = a.add(1);
      return [shifted.mul(b), shifted];
    };
    expect(launchesOf(device, fn, () => [row(), x()])).toEqual(["fused", "fused"]);
  });

  test("half floats join as others do: each step rounds", () => {
    for (const dtype of ["f16", "bf16"] as const) {
      const half = () => x().mul(0.3).cast(dtype);
      const fn = (a: Tensor) => [a.mul(a).sub(a.exp())];
      expect(launchesOf(device, fn, () => [half()])).toEqual(["fused"]);
      expect(
        launchesOf(
          device,
          (a) => [a.mul(a).sum({ axes: 1 })],
          () => [half()],
        ),
      ).toEqual(["fusedReduce"]);
      expect(
        launchesOf(
          device,
          (a) => [a.cast("f32").mul(3).add(1)],
          () => [half()],
        ),
      ).toEqual(["fused"]);
    }
  });

  describe("writeInto", () => {
    test("takes a whole fused result at its place", () => {
      const fn = (a: Tensor, b: Tensor) => {
        writeInto(a, a.mul(2).add(b));
        return [];
      };
      expect(launchesOf(device, fn, () => [x(), y()])).toEqual(["fused"]);
    });

    test("a group that reads a tensor runs before that tensor is overwritten", () => {
      const fn = (a: Tensor, b: Tensor) => {
        const before = a.mul(10);
        writeInto(a, b);
        return [before, a.mul(10)];
      };
      expect(launchesOf(device, fn, () => [x(), y()])).toEqual(["fused", "writeInto", "fused"]);
    });

    test("two groups that swap two tensors see the old values", () => {
      const fn = (a: Tensor, b: Tensor) => {
        const [left, right] = [a.add(1), b.add(2)];
        writeInto(a, right);
        writeInto(b, left);
        return [];
      };
      launchesOf(device, fn, () => [x(), y()]);
    });

    test("what is written back is read afterwards, not what was there", () => {
      const fn = (a: Tensor, b: Tensor) => {
        writeInto(a, a.add(b));
        const after = a.mul(2);
        writeInto(a, after);
        return [a.sum(), a.reshape([6]).neg()];
      };
      launchesOf(device, fn, () => [x(), y()]);
    });

    test("a value that is read elsewhere too is stored and copied", () => {
      const fn = (a: Tensor) => {
        const next = a.mul(3);
        writeInto(a, next);
        return [next.add(1)];
      };
      launchesOf(device, fn, () => [x()]);
    });

    test("a target under another shape than the one that the group reads", () => {
      const fn = (a: Tensor) => {
        const view = a.reshape([3, 2]);
        writeInto(view, a.add(1).reshape([3, 2]));
        writeInto(a, view.mul(2).reshape([2, 3]));
        writeInto(view, view.add(1));
        return [a.neg()];
      };
      launchesOf(device, fn, () => [x()]);
    });

    test("a target that its own group reads by broadcasting is written afterwards", () => {
      const fn = (a: Tensor, b: Tensor) => {
        const columns = a.reshape([3, 1]);
        const spread = b.mul(a).add(columns);
        writeInto(b, spread);
        writeInto(a, b.narrow(0, 1, 2).reshape([3]));
        return [];
      };
      const square = () => tensor(device, new Float32Array([1, 2, 3, 4, 5, 6, 7, 8, 9]), { shape: [3, 3] });
      launchesOf(device, fn, () => [row(), square()]);
      // One memory under two shapes: the group would read [1, 3] while it writes [3, 1].
      const crossed = (a: Tensor) => {
        writeInto(
          a.reshape([3, 1]),
          a
            .reshape([3, 1])
            .mul(2)
            .add(a.reshape([1, 3]).sum({ axes: 1, keepDims: true })),
        );
        return [];
      };
      launchesOf(device, crossed, () => [row()]);
    });

    test("a computed tensor that is overwritten by its own group keeps the last value", () => {
      const fn = (a: Tensor) => {
        const first = a.add(1);
        const second = first.mul(2);
        writeInto(first, second);
        return [first.mul(3), first];
      };
      launchesOf(device, fn, () => [x()]);
    });

    test("two writes into one tensor keep their order", () => {
      const fn = (a: Tensor, b: Tensor) => {
        const start = a.mul(b);
        writeInto(a, start.add(1));
        writeInto(a, start.sub(1));
        return [];
      };
      launchesOf(device, fn, () => [x(), y()]);
    });

    test("a part of a tensor is written after the groups that read it", () => {
      const fn = (a: Tensor, b: Tensor) => {
        const before = a.add(b);
        writeInto(a, b.narrow(0, 0, 1).neg(), { starts: [1, 0] });
        return [before, a.add(b)];
      };
      launchesOf(device, fn, () => [x(), y()]);
    });

    test("arguments that share memory are written and read as one", () => {
      const fn = (a: Tensor, b: Tensor) => {
        const before = b.neg();
        writeInto(a, a.add(1));
        return [before, b.neg()];
      };
      const shared = () => {
        const a = x();
        return [a, a.reshape([3, 2])];
      };
      launchesOf(device, fn, shared);
    });
  });

  describe("reductions", () => {
    test("take in the chain before them", () => {
      const fn = (a: Tensor, b: Tensor) => [a.mul(b).square().sum({ axes: 1 })];
      expect(launchesOf(device, fn, () => [x(), y()])).toEqual(["fusedReduce"]);
    });

    test("leave a chain whose result is read elsewhere too", () => {
      const fn = (a: Tensor, b: Tensor) => {
        const product = a.mul(b);
        return [product.sum({ axes: 0 }), product];
      };
      expect(launchesOf(device, fn, () => [x(), y()])).toEqual(["fused", "sum"]);
      const twice = (a: Tensor, b: Tensor) => {
        const product = a.mul(b);
        return [product.sum({ axes: 0 }), product.max()];
      };
      expect(launchesOf(device, twice, () => [x(), y()])).toEqual(["fused", "sum", "max"]);
    });

    test("leave a chain that has another result", () => {
      const fn = (a: Tensor, b: Tensor) => {
        const product = a.mul(b);
        return [product.add(1).sum({ axes: 0 }), product];
      };
      expect(launchesOf(device, fn, () => [x(), y()])).toEqual(["fused", "sum"]);
    });

    test("leave a chain that writes into a tensor", () => {
      const fn = (a: Tensor, b: Tensor) => {
        const product = a.mul(b);
        writeInto(a, product.sub(b));
        return [product.add(1).max({ axes: 0 })];
      };
      launchesOf(device, fn, () => [x(), y()]);
    });

    test("leave a chain whose inputs alone do not span its shape", () => {
      const fn = (a: Tensor) => [a.add(1).broadcastTo([4, 3]).mul(2).sum({ axes: 0 })];
      launchesOf(device, fn, () => [row()]);
    });

    test("of a view read the stored chain", () => {
      const fn = (a: Tensor) => [a.add(1).reshape([3, 2]).sum({ axes: 1 })];
      expect(launchesOf(device, fn, () => [x()])).toEqual(["fused", "sum"]);
    });
  });

  describe("limits", () => {
    test("a launch has at most 12 inputs", () => {
      const many = (...args: Tensor[]) => [args.reduce((total, arg) => total.add(arg))];
      const inputs = (count: number) => () => Array.from({ length: count }, () => x());
      expect(launchesOf(device, many, inputs(11))).toEqual(["fused"]);
      expect(launchesOf(device, many, inputs(30))).toHaveLength(3);
    });

    test("a launch has about 96 steps", () => {
      const long = (a: Tensor) => {
        let value = a;
        for (let i = 0; i < 100; i++) value = value.neg().abs().maximum(a);
        return [value];
      };
      const launches = launchesOf(device, long, () => [x()]);
      expect(launches.length).toBeGreaterThan(2);
      expect(launches.length).toBeLessThan(6);
    });
  });
});
