import type { DType } from "@heddle/tensor";

/** Whether a dtype is one of 16 bits. */
export const isHalf = (dtype: DType): boolean => dtype === "f16" || dtype === "bf16";
