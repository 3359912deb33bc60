import type { GgufFiles, GgufTensor } from "@heddle/checkpoints";
import type { QuantTensor } from "@heddle/quant";
import { type Device, disposeTree, fromDeviceBuffer, invariant, type Tensor } from "@heddle/tensor";
import type { DecoderConfig } from "../config.js";
import { findFamily } from "../families/registry.js";
import type { LoadWeightsOptions } from "../loading/load-weights.js";
import { locateWeights } from "../loading/weight-map.js";
import type { GgufFamily } from "./gguf-family.js";
import { factorTensors } from "./gguf-rope.js";
import { receivePart, type WeightReceiver } from "./receive-weight.js";
import { ruleOf } from "./weight-rules.js";

/**
 * Loads the tensors of a GGUF file into the tree of a configuration, all or none; quantised matrices stay quantised.
 *
 * Names and shapes of all tensors are checked before the first is read. The file is read in the order of its bytes, into two
 * windows of the device's memory in turns: one is filled while the other is packed.
 * @returns a tree that the caller disposes, of the kind that the family's architecture builds
 * @throws HeddleError "format" listing every tensor that is missing, unexpected or of another shape
 */
export async function loadGgufWeights(
  config: DecoderConfig,
  files: GgufFiles,
  { family, onProgress, signal, ...options }: LoadWeightsOptions & { readonly family: GgufFamily },
): Promise<unknown> {
  const own = new Map([...files.tensors].filter(([name]) => !factorTensors.has(name)));
  const located = locateWeights(config, own, { rules: family.rules });
  const totalBytes = located.reduce((sum, { name }) => sum + (own.get(name)?.byteLength ?? 0), 0);
  const receivers: WeightReceiver[] = [];
  const byPath = new Map<string, Tensor | QuantTensor>();
  let loadedBytes = 0;
  using windows = createWindows(options.device, totalBytes);
  try {
    for (const weight of located) {
      const listed = own.get(weight.name);
      invariant(listed, `${weight.name} was located`);
      const job = { config, listed, name: weight.name, rule: ruleOf(family, weight.name), ...options };
      let start = 0;
      for (const part of weight.parts) {
        const receiver = receivePart(job, part, start);
        start = receiver.end;
        receivers.push(receiver);
      }
    }
    for await (const { range, bytes, place } of files.pieces(inFileOrder(receivers, own), windows.options)) {
      signal?.throwIfAborted();
      range.write(bytes, place && windows.placeOf(place));
      loadedBytes += bytes.byteLength;
      onProgress?.({ loadedBytes, totalBytes });
    }
    for (const receiver of receivers) byPath.set(receiver.path, receiver.finish());
  } catch (error) {
    for (const { path, dispose } of receivers) if (!byPath.has(path)) dispose();
    disposeTree([...byPath.values()]);
    throw error;
  }
  const take = (path: string) => {
    const weight = byPath.get(path);
    invariant(weight, `the weight map covers ${path}`);
    // Only matrices that a tree takes as LinearWeight or table are quantised: `canQuantize`.
    return weight as Tensor;
  };
  return findFamily(config.family).architecture.buildWeights(config, take);
}

function inFileOrder(
  receivers: readonly WeightReceiver[],
  tensors: ReadonlyMap<string, GgufTensor>,
): readonly WeightReceiver[] {
  const keyOf = ({ name, start }: WeightReceiver) => {
    const { file = "", byteOffset = 0 } = tensors.get(name) ?? {};
    return { file, at: byteOffset + start };
  };
  return receivers
    .map((receiver) => ({ receiver, ...keyOf(receiver) }))
    .sort((a, b) => (a.file === b.file ? a.at - b.at : a.file < b.file ? -1 : 1))
    .map(({ receiver }) => receiver);
}

/** Bytes of a window: small enough to stay in a processor's cache until it is packed. */
const WINDOW_BYTES = 2 ** 21;

/** Two pieces of the device's memory into which a file is read; none where the device's memory cannot be written from here. */
function createWindows(device: Device, totalBytes: number) {
  const size = Math.min(WINDOW_BYTES, Math.ceil(totalBytes / 64) * 64);
  const tensors: Tensor[] = [];
  const views: Uint8Array[] = [];
  for (let i = 0; i < 2 && device.view !== undefined; i++) {
    const buffer = device.alloc(size);
    tensors.push(fromDeviceBuffer(device, { shape: [size], dtype: "u8" }, buffer));
    const view = device.view(buffer);
    if (view !== undefined) views.push(view);
  }
  const [first, second] = views;
  return {
    options: first === undefined || second === undefined ? {} : { windows: [first, second] as const },
    placeOf({ window, from }: { readonly window: 0 | 1; readonly from: number }) {
      const bytes = tensors[window];
      return bytes === undefined || views.length < 2 ? undefined : { bytes, from };
    },
    [Symbol.dispose]() {
      for (const window of tensors) window.dispose();
    },
  };
}
