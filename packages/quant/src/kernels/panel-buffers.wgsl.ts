import type { DType } from "@heddle/tensor";
import { type BufferUse, bufferAt } from "@heddle/tensor/kernel";
import {
  BLOCK_SIZE,
  isNested,
  partTypes,
  presentParts,
  type QuantLayout,
  SUPER_SIZE,
} from "../quant-format.js";

/** The tensors of a weight as buffers of a WGSL step, from launch buffer `first` on; codes are whole words. */
export function partBuffers(layout: QuantLayout, first: number): BufferUse[] {
  const types = partTypes(layout);
  return presentParts(layout).map((name, i): BufferUse => {
    const dtype = types[name]?.dtype ?? "u8";
    const use: BufferUse = { name, memory: bufferAt(first + i), dtype, access: "read" };
    return name === "codes" ? { ...use, element: "u32" } : use;
  });
}

/** The same for code that reads 16 bytes of codes, and the scales of four outputs, at once. */
export function partVectors(layout: QuantLayout, first: number): BufferUse[] {
  return partBuffers(layout, first).map((use) => ({ ...use, element: vectorOf(use.name, use.dtype) }));
}

/** Element of such a buffer. */
export function vectorOf(name: string, dtype: DType): string {
  if (name === "codes") return "vec4u";
  return dtype === "f32" ? "vec4f" : dtype === "f16" ? "vec2u" : "u32";
}

/** Four neighbouring scales as vec4f, from the element that holds them. */
export function fourScales({ scaleDType }: QuantLayout, value: string): string {
  return {
    f32: value,
    f16: `vec4f(unpack2x16float(${value}.x), unpack2x16float(${value}.y))`,
    u8: `vec4f(unpack4xU8(${value}))`,
    i8: `vec4f(unpack4xI8(${value}))`,
  }[scaleDType];
}

/** `scaleOf` and `minOf`: the numbers of four neighbouring outputs of a panel for a group of inputs. */
export function scaleFunctions(layout: QuantLayout): string {
  const four = fourScales(layout, "value");
  const above = (name: string) =>
    isNested(layout)
      ? ` * ${name}[(panel * P.numSupers + block / ${SUPER_SIZE / BLOCK_SIZE}u) * 4u + rowQuad]`
      : "";
  const make = (
    fn: string,
    name: string,
    superName: string,
  ) => `fn ${fn}(panel: u32, g: u32, block: u32, rowQuad: u32) -> vec4f {
  let value = ${name}[(panel * P.numGroups + g) * 4u + rowQuad];
  return ${four}${above(superName)};
}`;
  const scale = make("scaleOf", "scales", "superScales");
  return layout.hasMin ? `${scale}\n${make("minOf", "mins", "superMins")}` : scale;
}
