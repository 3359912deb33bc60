import type { SafetensorsFiles } from "@heddle/checkpoints";
import { QuantStack, quantFromBlocks } from "@heddle/quant";
import { type Device, type FloatDType, invariant, scope, type Tensor } from "@heddle/tensor";
import { rowOfGroup } from "../stored-layout.js";
import type { StoredWeight } from "../weight-map.js";
import { type LoadParts, type QuantisedWeights, shownTensor } from "./quantised-weight.js";

/** Weights that share a scale, and the bytes of their codes. */
const blockSize = 32;
const codeBytes = blockSize / 2;
/** A block in a GGUF file: its scale before its codes. */
const ggufBytes = 1 + codeBytes;

/**
 * Stacks of matrices in 4-bit floats with a power of two for each 32 inputs, as gpt-oss stores its experts: `NAME_blocks` U8
 * [X, out, in / 32, 16] and `NAME_scales` U8 [X, out, in / 32], for what the family's rules call `NAME` [X, in, out].
 *
 * They stay quantised, exactly, in 9 bits a weight (codes are kept as int8), unless a dtype is asked for.
 * @see OCP Microscaling Formats (MX) v1.0; OpenAI 2025 (gpt-oss), arXiv:2508.10925
 */
export function stackedMxfp4(files: SafetensorsFiles): QuantisedWeights {
  const problems: string[] = [];
  const found = [...files.tensors].flatMap(([codeName, codes]) => {
    if (!codeName.endsWith("_blocks")) return [];
    const name = codeName.slice(0, -"_blocks".length);
    const scaleName = `${name}_scales`;
    const scales = files.tensors.get(scaleName);
    const [matrices = 0, out = 0, blocks = 0, bytes] = codes.shape;
    const wanted = [matrices, out, blocks].join();
    const areBytes = codes.dtype === "U8" && scales?.dtype === "U8";
    const fits = codes.shape.length === 4 && bytes === codeBytes && scales?.shape.join() === wanted;
    if (!areBytes || !fits) {
      problems.push(
        `${shownTensor(codeName, codes)} with ${shownTensor(scaleName, scales)}, expected U8 [X, out, in / 32, 16] with U8 [X, out, in / 32]`,
      );
      return [];
    }
    const load: LoadParts = async (weight, { device, dtype }) => {
      const stored = { codes: await files.read(codeName), scales: await files.read(scaleName) };
      return loadStacks(weight, stored, { device, dtype: dtype === "stored" ? undefined : dtype });
    };
    const listed = { ...codes, shape: [matrices, blocks * blockSize, out] };
    return [[name, { holders: [codeName, scaleName], listed, load }] as const];
  });
  return { weights: new Map(found), problems };
}

interface StoredCodes {
  readonly codes: Uint8Array;
  readonly scales: Uint8Array;
}

/** Every part of the weight as a stack of its own; dense, where a dtype is asked for. All or none. */
function loadStacks(
  weight: StoredWeight,
  stored: StoredCodes,
  { device, dtype }: { readonly device: Device; readonly dtype: FloatDType | undefined },
): readonly (Tensor | QuantStack)[] {
  const loaded: (Tensor | QuantStack)[] = [];
  try {
    for (const at of weight.parts.keys()) {
      const stack = stackOf(weight, at, { stored, device });
      if (dtype === undefined) {
        loaded.push(stack);
        continue;
      }
      try {
        loaded.push(scope(device, () => stack.dequantize().cast(dtype)));
      } finally {
        stack.dispose();
      }
    }
    return loaded;
  } catch (error) {
    for (const part of loaded) part.dispose();
    throw error;
  }
}

function stackOf(
  weight: StoredWeight,
  at: number,
  { stored, device }: { readonly stored: StoredCodes; readonly device: Device },
): QuantStack {
  const [matrices = 0, rows = 0, columns = 0] = weight.parts[at]?.shape ?? [];
  const numBlocks = columns / blockSize;
  const storedRows = weight.parts.reduce((sum, { shape }) => sum + (shape[1] ?? 0), 0);
  invariant(weight.isTransposed && weight.axis === 1, `${weight.name} is a stack of matrices [in, out]`);
  const bytes = new Uint8Array(matrices * rows * numBlocks * ggufBytes);
  let to = 0;
  for (let matrix = 0; matrix < matrices; matrix++) {
    for (let row = 0; row < rows; row++) {
      const from = (matrix * storedRows + rowOfGroup(weight, at, row)) * numBlocks;
      for (let block = from; block < from + numBlocks; block++, to += ggufBytes) {
        bytes[to] = stored.scales[block] ?? 0;
        orderCodes(stored.codes, block * codeBytes, bytes, to + 1);
      }
    }
  }
  return new QuantStack(quantFromBlocks(device, "MXFP4", bytes, [matrices * rows, columns]), matrices);
}

/** From neighbours in one byte, the first in its low half, to the pairs of GGUF: of the first and the second sixteen. */
function orderCodes(codes: Uint8Array, from: number, bytes: Uint8Array, to: number): void {
  for (let pair = 0; pair < codeBytes / 2; pair++) {
    const low = codes[from + pair] ?? 0;
    const high = codes[from + pair + codeBytes / 2] ?? 0;
    bytes[to + 2 * pair] = (low & 15) | ((high & 15) << 4);
    bytes[to + 2 * pair + 1] = (low >> 4) | (high & 0xf0);
  }
}
