import { loadTensor, type SafetensorsFiles } from "@heddle/checkpoints";
import { type Device, type FloatDType, scope, type Tensor, tensor } from "@heddle/tensor";
import { takeApart } from "../stored-layout.js";
import { canStayHalf } from "../weight-map.js";
import { type LoadParts, type QuantisedWeights, shownTensor } from "./quantised-weight.js";

const ending = "_scale_inv";

/**
 * Matrices in 8-bit floats with one scale for each block: W[r, c] = codes[r, c] scale[r / rows, c / columns], stored as `NAME`
 * (F8_E4M3) and `NAME_scale_inv` (a float; in spite of its name, what the codes are multiplied by).
 *
 * They are widened: to bf16 on the CPU, as the publishers' own conversion does, elsewhere and on demand to other floats.
 * @see DeepSeek-AI 2024 (DeepSeek-V3, section 3.3), arXiv:2412.19437
 */
export function scaledFloat8(
  files: SafetensorsFiles,
  blockShape: readonly [rows: number, columns: number],
): QuantisedWeights {
  const problems: string[] = [];
  const found = [...files.tensors].flatMap(([name, listed]) => {
    if (listed.dtype !== "F8_E4M3") return [];
    const scaleName = name + ending;
    const scale = files.tensors.get(scaleName);
    const wanted = listed.shape.map((size, axis) => Math.ceil(size / (blockShape[axis] ?? 1)));
    if (listed.shape.length !== 2 || scale?.shape.join() !== wanted.join()) {
      const parts = `${shownTensor(name, listed)} with ${shownTensor(scaleName, scale)}`;
      problems.push(`${parts}, expected scales [${wanted.join(", ")}]`);
      return [];
    }
    const load: LoadParts = async (weight, { device, dtype }) => {
      const usual = canStayHalf(weight, device) ? "bf16" : device.defaultFloat;
      const float = dtype === "stored" ? "bf16" : (dtype ?? usual);
      return takeApart(await loadScaled(files, name, { device, float, blockShape }), weight);
    };
    return [[name, { holders: [name, scaleName], listed, load }] as const];
  });
  return { weights: new Map(found), problems };
}

async function loadScaled(
  files: SafetensorsFiles,
  name: string,
  {
    device,
    float,
    blockShape,
  }: {
    readonly device: Device;
    readonly float: FloatDType;
    readonly blockShape: readonly [number, number];
  },
): Promise<Tensor> {
  const dtype = float === "f64" ? "f64" : "f32";
  using codes = await loadTensor(files, name, { device, dtype });
  using scales = await loadTensor(files, name + ending, { device, dtype });
  return scope(device, () => {
    const spread = codes.shape.reduce(
      (blocks, size, axis) => blocks.take(blockOf(device, size, blockShape[axis] ?? 1), { axis }),
      scales,
    );
    return codes.mul(spread).cast(float);
  });
}

/** The block in which each of so many rows or columns lies. */
function blockOf(device: Device, size: number, blockSize: number): Tensor {
  return tensor(
    device,
    Int32Array.from({ length: size }, (_, i) => Math.floor(i / blockSize)),
  );
}
