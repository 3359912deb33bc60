// What the limit measurement uses of Heddle, behind one import.
export { cpu } from "@heddle/tensor";
export { dotKernel, multiplyAddKernel, readFrom, readKernel } from "./limit-kernels.ts";
