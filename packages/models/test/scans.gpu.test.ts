import {
  compile,
  type Device,
  disposeTree,
  randn,
  reference,
  type Tensor,
  valueAndGrad,
} from "@heddle/tensor";
import { afterAll, expect, test } from "vitest";
import { findDevice } from "../../gpu/test/find-device.js";
import { type ScanResult, selectiveScan } from "../src/recurrent/selective-scan.js";
import { wkvScan } from "../src/recurrent/wkv-scan.js";
import { relativeError } from "./relative-error.js";

const { device, reason } = await findDevice();
afterAll(() => device?.dispose());

/** Numbers like those of the device in f32, in the device's own dtype. */
const random = (on: Device, shape: readonly number[], seed: number) =>
  randn(on, shape, { seed, dtype: "f32" }).cast(on.defaultFloat);

type Inputs = Readonly<Record<string, Tensor>>;

function runSelective(on: Device, [B, T, I, G, N, rateN]: readonly number[]): ScanResult {
  const token = [B ?? 1, T ?? 1];
  const inputs = {
    x: random(on, [...token, I ?? 1], 1),
    delta: random(on, [...token, I ?? 1], 2).abs(),
    rate: random(on, [I ?? 1, rateN ?? 1], 3)
      .abs()
      .neg(),
    write: random(on, [...token, G ?? 1, N ?? 1], 4),
    read: random(on, [...token, G ?? 1, N ?? 1], 5),
    state: random(on, [B ?? 1, I ?? 1, N ?? 1], 6),
  };
  return selectiveScan(inputs);
}

function runWkv(on: Device, [B = 1, T = 1, I = 1]: readonly number[]): ScanResult {
  const first = { key: random(on, [B, T, I], 1), value: random(on, [B, T, I], 2) };
  const rest = { decay: random(on, [I], 3).abs().neg(), bonus: random(on, [I], 4) };
  const { state, out } = wkvScan({ ...first, ...rest });
  out.dispose();
  // From a state that an earlier piece has left behind.
  return wkvScan({ key: random(on, [B, T, I], 5), value: random(on, [B, T, I], 6), ...rest, state });
}

if (device === undefined) test.skip(`scans on WebGPU: ${reason}`);
else {
  test.each([
    { name: "Mamba's state", run: runSelective, sizes: [2, 9, 37, 1, 16, 16] },
    { name: "Mamba-2's groups and shared rates", run: runSelective, sizes: [1, 5, 24, 3, 128, 1] },
    { name: "an odd state, one token", run: runSelective, sizes: [3, 1, 5, 1, 3, 3] },
    { name: "one number of state", run: runSelective, sizes: [1, 4, 70, 1, 1, 1] },
    { name: "RWKV's averages", run: runWkv, sizes: [2, 7, 70] },
  ])("$name: the numbers of float64", async ({ run, sizes }) => {
    const [actual, expected] = [run(device, sizes), run(reference(), sizes)];
    for (const part of ["out", "state"] as const) {
      expect(actual[part].executedOn).toBe("wgsl");
      expect(relativeError(await actual[part].data(), await expected[part].data())).toBeLessThan(1e-5);
    }
    disposeTree([actual, expected]);
  });

  const selective = (on: Device) => ({
    x: random(on, [1, 4, 6], 1),
    delta: random(on, [1, 4, 6], 2).abs(),
    rate: random(on, [6, 4], 3).abs().neg(),
    write: random(on, [1, 4, 2, 4], 4),
    read: random(on, [1, 4, 2, 4], 5),
    state: random(on, [1, 6, 4], 6),
  });
  const averaged = (on: Device) => ({
    key: random(on, [2, 4, 5], 1),
    value: random(on, [2, 4, 5], 2),
    decay: random(on, [5], 3).abs().neg(),
    bonus: random(on, [5], 4),
  });
  test.each([
    {
      name: "selective scan",
      inputs: selective,
      loss: (given: Inputs) => {
        const { out, state } = selectiveScan(given as ReturnType<typeof selective>);
        return out.mul(out).sum().add(state.sum());
      },
    },
    {
      name: "averages",
      inputs: averaged,
      loss: (given: Inputs) => {
        const { out } = wkvScan(given as ReturnType<typeof averaged>);
        return out.mul(out).sum();
      },
    },
  ])("gradients of $name: the numbers of float64, compiled too", async ({ inputs, loss }) => {
    const given: readonly Inputs[] = [inputs(reference()), inputs(device)];
    const gradOf = (values: Inputs) => valueAndGrad(loss)(values).grad;
    const run = compile(gradOf);
    const [expected = {}, actual = {}] = given.map(gradOf);
    const compiled = run(given[1] ?? {});
    for (const [name, wanted] of Object.entries(expected)) {
      for (const found of [actual, compiled])
        expect(relativeError((await found[name]?.data()) ?? [], await wanted.data()), name).toBeLessThan(
          1e-5,
        );
    }
    disposeTree([given, expected, actual, compiled]);
    run.dispose();
  });
}
