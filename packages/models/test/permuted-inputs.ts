import { type Device, type Tensor, tensor } from "@heddle/tensor";
import type { GoldenArrays } from "../../../tooling/golden/safetensors.js";
import { tokenGrid } from "../src/token-grid.js";
import { rowsOf } from "./packed-golden.js";

/** The golden inputs of XLNet's second stream, in an order of factorisation; the caller disposes them. */
export function permutedInputs(
  device: Device,
  golden: GoldenArrays,
): Readonly<Record<"ids" | "typeIds" | "hidden" | "targets", Tensor>> {
  const float = (name: string) => {
    const { shape, data } = golden.get(name);
    return tensor(device, Float32Array.from(data), { shape, dtype: device.defaultFloat });
  };
  return {
    ids: tokenGrid(device, rowsOf(golden, "perm.input_ids")),
    typeIds: tokenGrid(device, rowsOf(golden, "perm.token_type_ids")),
    hidden: float("perm.perm_mask"),
    targets: float("perm.target_mapping"),
  };
}
