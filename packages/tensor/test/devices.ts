import { cpu, type Device, reference } from "../src/index.js";

interface TestDevice {
  readonly name: string;
  make(): Device;
  /** Largest difference from the reference device, in units of 1 + |expected|. */
  readonly conformance: number;
  /** Largest difference from golden data, which is stored as f32. */
  readonly golden: { readonly absolute: number; readonly relative: number };
}

/** Every device that the conformance and golden suites run on. */
export const testDevices: readonly TestDevice[] = [
  { name: "reference", make: reference, conformance: 0, golden: { absolute: 1e-9, relative: 1e-6 } },
  {
    name: "cpu",
    make: () => cpu({ threads: 2 }),
    conformance: 2e-5,
    golden: { absolute: 1e-5, relative: 1e-4 },
  },
];
