import { readGoldenArrays } from "../../../tooling/golden/safetensors.js";
import { type Device, type Tensor, tensor } from "../src/index.js";

/** Reads the arrays of a golden file onto a device; floats become the device's own float. */
export function readGolden(device: Device, file: string): ReadonlyMap<string, Tensor> {
  const arrays = readGoldenArrays(new URL(`golden/${file}`, import.meta.url));
  const onDevice = (name: string): Tensor => {
    const { shape, data } = arrays.get(name);
    return data instanceof Int32Array
      ? tensor(device, data, { shape })
      : tensor(device, Float64Array.from(data), { shape, dtype: device.defaultFloat });
  };
  return new Map(arrays.names.map((name) => [name, onDevice(name)]));
}
