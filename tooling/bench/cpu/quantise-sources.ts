// What the measurement of quantising uses of Heddle, behind one import.

export { quantize, quantizeOn } from "@heddle/checkpoints";
export { cpu } from "@heddle/tensor";
