import { cpu, type Device, reference } from "@heddle/tensor";

/** The devices that models are tested on, with the tolerance relative to the largest logit. */
export const devices: readonly {
  readonly name: string;
  readonly make: () => Device;
  readonly tolerance: number;
}[] = [
  { name: "reference", make: reference, tolerance: 1e-6 },
  { name: "cpu", make: () => cpu({ threads: 1 }), tolerance: 1e-4 },
];
