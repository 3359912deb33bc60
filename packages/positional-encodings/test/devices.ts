import { type Device, reference } from "@heddle/tensor";

/** Every device that the suites run on, with the largest error that its arithmetic allows. */
export const devices: readonly {
  readonly name: string;
  readonly create: () => Device;
  readonly tolerance: number;
}[] = [{ name: "reference", create: () => reference(), tolerance: 1e-6 }];
