import type { WgslFeatures } from "@heddle/tensor/kernel";

/** Threads that exchange values without workgroup memory: 1 where that is not promised. */
export function subgroupSize({ subgroups }: WgslFeatures): number {
  return subgroups !== undefined && subgroups.min === subgroups.max && subgroups.max <= 64
    ? subgroups.max
    : 1;
}
