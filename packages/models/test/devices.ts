import { cpu, type Device, reference } from "@heddle/tensor";

/** A device for models, with the tolerance relative to the largest logit. */
export interface ModelDevice {
  readonly name: string;
  readonly make: () => Device | Promise<Device>;
  readonly tolerance: number;
  /** `make` gives the same device every time; its owner disposes it. Default false. */
  readonly isShared?: boolean;
}

/** The devices that models are tested on. */
export const devices: readonly { readonly name: string; make(): Device; readonly tolerance: number }[] = [
  { name: "reference", make: reference, tolerance: 1e-6 },
  { name: "cpu", make: () => cpu({ threads: 1 }), tolerance: 1e-4 },
];
