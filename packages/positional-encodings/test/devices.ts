import { cpu, type Device, reference } from "@heddle/tensor";

/** Every device that the suites run on, with the largest error that its arithmetic allows. */
export const devices: readonly {
  readonly name: string;
  readonly create: () => Device;
  readonly tolerance: number;
}[] = [
  { name: "reference", create: () => reference(), tolerance: 1e-6 },
  { name: "cpu", create: () => cpu({ threads: 1 }), tolerance: 2e-6 },
  { name: "cpu with two threads", create: () => cpu({ threads: 2 }), tolerance: 2e-6 },
];
