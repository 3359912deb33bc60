import { readFileSync } from "node:fs";
import { type Device, type DType, fromBytes, type Tensor } from "../src/index.js";

const dtypes: Readonly<Record<string, DType>> = { F64: "f64", F32: "f32", I32: "i32" };

/** Reads the arrays of a golden file onto a device; floats become the device's own float. */
export async function readGolden(device: Device, file: string): Promise<ReadonlyMap<string, Tensor>> {
  const bytes = new Uint8Array(readFileSync(new URL(`golden/${file}`, import.meta.url)));
  const headerLength = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }> =
    JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + headerLength)));
  const arrays = new Map<string, Tensor>();
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const type = dtypes[dtype];
    if (type === undefined)
      throw new Error(`readGolden: knows ${Object.keys(dtypes)}; got dtype ${dtype} of ${name}.`);
    const raw = bytes.subarray(8 + headerLength + data_offsets[0], 8 + headerLength + data_offsets[1]);
    const stored = fromBytes(device, { shape, dtype: type }, raw);
    arrays.set(name, type === "i32" ? stored : stored.cast(device.defaultFloat));
  }
  return arrays;
}
