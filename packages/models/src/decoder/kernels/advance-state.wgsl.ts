import type { TensorType } from "@heddle/tensor";
import { bufferAt, type WgslKernel, wgslStep } from "@heddle/tensor/kernel";

/** One thread moves token, position, row and ring on. Twin: the composition of the op. */
export function advanceStateWgsl({ shape, dtype }: TensorType): WgslKernel | undefined {
  if (dtype !== "f32") return undefined;
  const changed = (name: string, index: number, element: "i32" | "f32") =>
    ({ name, memory: bufferAt(index), dtype: element, access: "words" }) as const;
  const step = wgslStep({
    buffers: [
      changed("token", 0, "i32"),
      changed("position", 1, "i32"),
      changed("row", 2, "i32"),
      changed("ring", 3, "f32"),
      { name: "next", memory: bufferAt(4), dtype: "i32", access: "read" },
      { name: "result", memory: bufferAt(5), dtype: "f32", access: "read" },
    ],
    params: { rows: shape[0] ?? 1 },
    threads: 1,
    groups: 1,
    body: `  let at = u32(row[0]) % P.rows;
  ring[2u * at] = load_result(0u);
  ring[2u * at + 1u] = load_result(1u);
  row[0] = i32((at + 1u) % P.rows);
  token[0] = load_next(0u);
  position[0] = position[0] + 1;`,
  });
  return { steps: [step] };
}
