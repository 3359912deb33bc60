import { type Device, disposeTree, type OpSpec, reference, type Tensor } from "@heddle/tensor";
import { afterAll, expect, test, vi } from "vitest";
import { findDevice } from "../../gpu/test/find-device.js";
import { largestDifference } from "../../tensor/test/conformance.js";

/** Every op that a module of a package defines, in the order of the imports. */
const { defined } = vi.hoisted(() => ({
  defined: [] as { readonly name: string; readonly alias?: boolean }[],
}));
vi.mock("../../tensor/src/op.js", async (original) => {
  const actual = await original<typeof import("../../tensor/src/op.js")>();
  const defineOp: typeof actual.defineOp = (spec) => {
    defined.push(spec);
    return actual.defineOp(spec);
  };
  return { ...actual, defineOp };
});

/** Ops of devices that the host reads at once, and why others do without. */
const ofTheHost: Readonly<Record<string, string>> = {
  fitScalesAndMins: "quantises in the CPU's own memory; elsewhere the host does",
  fitSignedScales: "quantises in the CPU's own memory; elsewhere the host does",
  packBlocks: "fills the CPU's own memory; elsewhere the host packs and uploads",
  quantProduct: "a half of quantLinear, which has kernels of its own",
  roundActivations: "a half of quantLinear, which has kernels of its own",
  selectiveScanGrad: "goes backwards in time by a loop; elsewhere a composition does",
  wkvScanGrad: "goes backwards in time by a loop; elsewhere a composition does",
};

await import("@heddle/tensor");
const opsOfTensor = new Set(defined.map(({ name }) => name));
const { packageCases } = await import("./package-ops.js");
await import("../src/index.js");
const opsAbove = defined.map(({ name }) => name).filter((name) => !opsOfTensor.has(name));

const { device, reason } = await findDevice();
afterAll(() => device?.dispose());

async function valuesOf(tensors: readonly Tensor[]): Promise<number[][]> {
  return Promise.all(tensors.map(async (x) => Array.from(await x.data(), Number)));
}

test("the packages define ops, each by a name of its own", () => {
  expect(opsAbove.length).toBeGreaterThan(15);
  // One op with one store, and one with two.
  expect([...opsAbove].sort().filter((name, i, all) => name === all[i - 1])).toEqual(["appendKv"]);
});

if (device === undefined) test.skip(`ops of all packages on WebGPU: ${reason}`);
else {
  const run = new Set<string>();
  const lower = device.lower.bind(device);
  vi.spyOn(device, "lower").mockImplementation((call) => {
    run.add((call.op as OpSpec).name);
    return lower(call);
  });

  test.each(packageCases)("$name", async (example) => {
    const results = async (on: Device) => {
      const made = await example.run(on);
      const values = await valuesOf(made);
      disposeTree(made);
      return values;
    };
    const [actual, expected] = [await results(device), await results(reference())];
    expect(actual.length).toBe(expected.length);
    for (const [i, values] of actual.entries())
      expect(largestDifference(values, expected[i] ?? []), `result ${i}`).toBeLessThanOrEqual(
        example.tolerance ?? 1e-4,
      );
  });

  test("every op of the packages between tensors and models has run", () => {
    const missing = [...new Set(opsAbove)].filter((name) => !run.has(name)).sort();
    expect(missing).toEqual(Object.keys(ofTheHost));
  });
}
