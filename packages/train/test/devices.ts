import { cpu, type Device, reference } from "@heddle/tensor";

/** Every device that the tests run on, made anew for each use. */
export const devices: readonly (readonly [name: string, make: () => Device])[] = [
  ["reference", () => reference()],
  ["cpu", () => cpu({ threads: 1 })],
];
