import { cpu, type Device, reference } from "@heddle/tensor";

/** Every device that the suites run on. */
export const devices: readonly { readonly name: string; readonly create: () => Device }[] = [
  { name: "reference", create: () => reference() },
  { name: "cpu", create: () => cpu({ threads: 1 }) },
  { name: "cpu with two threads", create: () => cpu({ threads: 2 }) },
  { name: "cpu without relaxed SIMD", create: () => cpu({ threads: 1, disable: { relaxedSimd: true } }) },
];
