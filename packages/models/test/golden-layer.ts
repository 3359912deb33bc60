import { type Device, type Tensor, tensor } from "@heddle/tensor";
import { readGoldenArrays } from "../../../tooling/golden/safetensors.js";

/** The arrays of a golden layer on a device; floats become the device's own float. @throws Error for a name that it lacks */
export function goldenLayer<Name extends string>(
  device: Device,
  name: string,
  keys: readonly Name[],
): Record<Name, Tensor> {
  const arrays = readGoldenArrays(new URL(`golden/layers/${name}.safetensors`, import.meta.url));
  const onDevice = (key: string): Tensor => {
    const { shape, data } = arrays.get(key);
    return data instanceof Int32Array
      ? tensor(device, data, { shape })
      : tensor(device, Float64Array.from(data), { shape, dtype: device.defaultFloat });
  };
  return Object.fromEntries(keys.map((key) => [key, onDevice(key)])) as Record<Name, Tensor>;
}
