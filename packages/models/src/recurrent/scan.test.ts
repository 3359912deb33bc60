import {
  cpu,
  type Device,
  defineOp,
  disposeTree,
  randn,
  reference,
  type Tensor,
  tensor,
  valueAndGrad,
} from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { relativeError } from "../../test/relative-error.js";
import { causalConv } from "./causal-conv.js";
import { composedScanGrad, type ScanResult, selectiveScan, selectiveScanOp } from "./selective-scan.js";
import { softplus } from "./softplus.js";
import { composedWkvGrad, emptyWkvState, wkvScan, wkvScanOp } from "./wkv-scan.js";

/** A scan over random inputs: `run` takes the inputs of tokens from..to-1 and a state. */
interface ScanCase {
  readonly name: string;
  readonly shapes: Readonly<Record<string, readonly number[]>>;
  /** Inputs that belong to tokens: cut when a text is scanned in pieces. */
  readonly perToken: readonly string[];
  readonly negative: readonly string[];
  run(inputs: Readonly<Record<string, Tensor>>, state?: Tensor): ScanResult;
}

const selective = (name: string, [B, T, I, G, N, rateN]: readonly number[]): ScanCase => ({
  name: `selectiveScan ${name}`,
  shapes: {
    x: [B ?? 1, T ?? 1, I ?? 1],
    delta: [B ?? 1, T ?? 1, I ?? 1],
    rate: [I ?? 1, rateN ?? 1],
    write: [B ?? 1, T ?? 1, G ?? 1, N ?? 1],
    read: [B ?? 1, T ?? 1, G ?? 1, N ?? 1],
  },
  perToken: ["x", "delta", "write", "read"],
  negative: ["rate"],
  run: (inputs, state) =>
    selectiveScan({
      ...(inputs as unknown as Parameters<typeof selectiveScan>[0]),
      ...(state ? { state } : {}),
    }),
});

const wkv = (name: string, [B, T, I]: readonly [number, number, number]): ScanCase => ({
  name: `wkvScan ${name}`,
  shapes: { key: [B, T, I], value: [B, T, I], decay: [I], bonus: [I] },
  perToken: ["key", "value"],
  negative: ["decay"],
  run: (inputs, state) =>
    wkvScan({ ...(inputs as unknown as Parameters<typeof wkvScan>[0]), ...(state ? { state } : {}) }),
});

const cases: readonly ScanCase[] = [
  selective("of one group", [2, 5, 4, 1, 8, 8]),
  selective("of two groups with shared rates", [2, 6, 8, 2, 4, 1]),
  selective("with an odd state", [1, 4, 3, 1, 3, 3]),
  wkv("of four channels", [2, 6, 4]),
  wkv("of an odd number of channels", [1, 5, 3]),
];

async function inputsOf(device: Device, { shapes, negative }: ScanCase): Promise<Record<string, Tensor>> {
  const entries = Object.entries(shapes).map(async ([name, shape], at) => {
    using drawn = randn(reference(), shape, { seed: 11 + at });
    const values = Float64Array.from(await drawn.data());
    const data = negative.includes(name) || name === "delta" ? values.map(Math.abs) : values;
    const signed = negative.includes(name) ? data.map((value) => -value) : data;
    return [name, tensor(device, Float32Array.from(signed), { shape, dtype: device.defaultFloat })] as const;
  });
  return Object.fromEntries(await Promise.all(entries));
}

/** The inputs of some tokens only. */
function cutTo(
  inputs: Readonly<Record<string, Tensor>>,
  { perToken }: ScanCase,
  [from, to]: readonly [number, number],
) {
  return Object.fromEntries(
    Object.entries(inputs).map(([name, x]) => [name, perToken.includes(name) ? x.narrow(1, from, to) : x]),
  );
}

describe.each(cases)("$name", (scan) => {
  test("the kernel equals the loops in float64", async () => {
    const [exact, fast] = [reference(), cpu({ threads: 1 })];
    const results = [];
    for (const device of [exact, fast]) {
      const inputs = await inputsOf(device, scan);
      const result = scan.run(inputs);
      results.push([await result.out.data(), await result.state.data()]);
      disposeTree([inputs, result]);
      expect(device.memory().buffers).toBe(0);
    }
    const [expected = [], actual = []] = results;
    for (const at of [0, 1]) expect(relativeError(actual[at] ?? [], expected[at] ?? [])).toBeLessThan(2e-6);
    fast.dispose();
  });

  test("the composition for other devices equals the loops", async () => {
    const device = reference();
    const inputs = await inputsOf(device, scan);
    const expected = scan.run(inputs);
    const { spec } = scan.name.startsWith("selective") ? selectiveScanOp : wkvScanOp;
    // A device without loops and kernels of the op, played by an op that has neither.
    const composed = defineOp({
      name: "composed",
      infer: spec.infer,
      ...(spec.reference ? { reference: spec.reference } : {}),
    });
    const T = expected.out.shape[1] ?? 0;
    const first = scan.run(cutTo(inputs, scan, [0, 2]));
    const rest = Object.values(cutTo(inputs, scan, [2, T]));
    const [out, state] = composed.apply([...rest, first.state], {});
    using wanted = expected.out.narrow(1, 2, T);
    expect(relativeError((await out?.data()) ?? [], await wanted.data())).toBeLessThan(1e-12);
    expect(relativeError((await state?.data()) ?? [], await expected.state.data())).toBeLessThan(1e-12);
  });

  test("the gradient of the composition is that of the loops", async () => {
    const device = reference();
    const inputs = await inputsOf(device, scan);
    const { grad } = valueAndGrad((given: typeof inputs) => {
      const { out } = scan.run(given);
      return out.mul(out).sum();
    })(inputs);
    const { out, state } = scan.run(inputs);
    const ordered = Object.values(inputs);
    const composed = scan.name.startsWith("selective")
      ? composedScanGrad([...ordered, state.mul(0), out.mul(2), state.mul(0)])
      : composedWkvGrad([...ordered, emptyWkvState(out), out, out.mul(2)]);
    for (const [at, name] of Object.keys(inputs).entries())
      expect(
        relativeError((await composed[at]?.data()) ?? [], (await grad[name]?.data()) ?? []),
        name,
      ).toBeLessThan(1e-10);
  });

  test("pieces of a text give the numbers of the whole, token by token too", async () => {
    const device = reference();
    const inputs = await inputsOf(device, scan);
    const whole = scan.run(inputs);
    const T = whole.out.shape[1] ?? 0;
    for (const cuts of [[2, T], Array.from({ length: T }, (_, t) => t + 1)]) {
      let state: Tensor | undefined;
      let from = 0;
      for (const to of cuts) {
        const piece = cutTo(inputs, scan, [from, to]);
        const result = scan.run(piece, state);
        using expected = whole.out.narrow(1, from, to);
        expect(relativeError(await result.out.data(), await expected.data())).toBeLessThan(1e-12);
        state = result.state;
        from = to;
      }
      if (state === undefined) throw new Error("no piece was scanned");
      expect(relativeError(await state.data(), await whole.state.data())).toBeLessThan(1e-12);
    }
  });

  test("gradients are the slopes in float64", async () => {
    const device = reference();
    const inputs = await inputsOf(device, scan);
    const probe = randn(device, inputs.x?.shape ?? inputs.key?.shape ?? [], { seed: 3 });
    const throughState = scan.name.startsWith("selective");
    const loss = (given: Record<string, Tensor>) => {
      const { out, state } = scan.run(given);
      const read = out.mul(probe).sum();
      return throughState ? read.add(state.square().sum()) : read;
    };
    const { grad } = valueAndGrad(loss)(inputs);
    for (const [name, x] of Object.entries(inputs)) {
      const values = Float64Array.from(await x.data());
      const gradient = (await grad[name]?.data()) ?? [];
      for (let place = 0; place < values.length; place += 1 + Math.floor(values.length / 9)) {
        const at = async (delta: number) => {
          const moved = tensor(device, values.with(place, (values[place] ?? 0) + delta), { shape: x.shape });
          return loss({ ...inputs, [name]: moved }).item();
        };
        const slope = ((await at(1e-5)) - (await at(-1e-5))) / 2e-5;
        expect(Math.abs((gradient[place] ?? Number.NaN) - slope), `${name}[${place}]`).toBeLessThan(
          1e-8 + 1e-7 * Math.abs(slope),
        );
      }
    }
  });
});

test("exponents far apart neither overflow nor vanish", async () => {
  const device = cpu({ threads: 1 });
  const key = tensor(
    device,
    [80, -80, 100, 0].flatMap((k) => [k, k, k, k]),
    { shape: [1, 4, 4] },
  );
  const value = tensor(
    device,
    Array.from({ length: 16 }, (_, at) => at),
    { shape: [1, 4, 4] },
  );
  const decay = tensor(device, [-1, -1, -1, -1]);
  const bonus = tensor(device, [0.5, 0.5, 0.5, 0.5]);
  const result = wkvScan({ key, value, decay, bonus });
  expect([...(await result.out.data())].every(Number.isFinite)).toBe(true);
  disposeTree([key, value, decay, bonus, result]);
  expect(device.memory().buffers).toBe(0);
  device.dispose();
});

test("softplus keeps its digits where the answer is small, and its slope", async () => {
  const device = cpu({ threads: 1 });
  const at = [-30, -12, -6, -1, 0, 1, 20, 90];
  const x = tensor(device, at);
  const { value, grad } = valueAndGrad((x: Tensor) => softplus(x).sum())(x);
  const y = softplus(x);
  const expected = at.map((v) => Math.max(v, 0) + Math.log1p(Math.exp(-Math.abs(v))));
  for (const [i, got] of [...(await y.data())].entries())
    expect(Math.abs(got / (expected[i] ?? 0) - 1)).toBeLessThan(1e-6);
  expect(
    relativeError(
      await grad.data(),
      at.map((v) => 1 / (1 + Math.exp(-v))),
    ),
  ).toBeLessThan(1e-6);
  disposeTree([x, y, value, grad]);
  expect(device.memory().buffers).toBe(0);
  device.dispose();
});

test("a causal convolution in pieces equals the whole, and the formula", async () => {
  const device = reference();
  const x = randn(device, [2, 6, 3], { seed: 1 });
  const weight = randn(device, [3, 4], { seed: 2 });
  const bias = randn(device, [3], { seed: 3 });
  const whole = causalConv(x, weight, { bias });
  const [xs, ws, bs, ys] = await Promise.all([x, weight, bias, whole.out].map((t) => t.data()));
  for (let b = 0; b < 2; b++) {
    for (let t = 0; t < 6; t++) {
      for (let i = 0; i < 3; i++) {
        let sum = bs?.[i] ?? 0;
        for (let k = 0; k < 4; k++) {
          const s = t - 3 + k;
          if (s >= 0) sum += (ws?.[i * 4 + k] ?? 0) * (xs?.[(b * 6 + s) * 3 + i] ?? 0);
        }
        expect(ys?.[(b * 6 + t) * 3 + i]).toBeCloseTo(sum, 12);
      }
    }
  }
  const first = causalConv(x.narrow(1, 0, 1), weight, { bias });
  const second = causalConv(x.narrow(1, 1, 6), weight, { bias, state: first.state });
  using expected = whole.out.narrow(1, 1, 6);
  expect(relativeError(await second.out.data(), await expected.data())).toBeLessThan(1e-12);
  expect(relativeError(await second.state.data(), await whole.state.data())).toBeLessThan(1e-12);
});

test.each([
  [
    "selectiveScan",
    (x: Tensor) => selectiveScan({ x, delta: x, rate: x, write: x, read: x }),
    /write and read \[B, T, G, N\].*got x \[2, 3\]/,
  ],
  [
    "wkvScan",
    (x: Tensor) => wkvScan({ key: x, value: x, decay: x, bonus: x }),
    /decay and bonus \[I\].*got key \[2, 3\]/,
  ],
])("%s says what does not fit", (_, run, message) => {
  const device = reference();
  using x = randn(device, [2, 3], { seed: 1 });
  expect(() => run(x)).toThrow(message);
  expect(device.memory().buffers).toBe(1);
});
