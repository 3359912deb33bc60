import { type BufferUse, bufferAt } from "@heddle/tensor/kernel";
import { partNames, partTypes, type QuantLayout } from "../quant-format.js";

/** The tensors of a weight as buffers of a WGSL step, from launch buffer `first` on; codes are whole words. */
export function partBuffers(layout: QuantLayout, first: number): BufferUse[] {
  const types = partTypes(layout);
  const present = partNames.filter((name) => types[name] !== undefined);
  return present.map((name, i): BufferUse => {
    const dtype = types[name]?.dtype ?? "u8";
    const use: BufferUse = { name, memory: bufferAt(first + i), dtype, access: "read" };
    return name === "codes" ? { ...use, element: "u32" } : use;
  });
}
