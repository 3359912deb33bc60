import type { GgufFiles, GgufTensor } from "@heddle/checkpoints";
import type { QuantTensor } from "@heddle/quant";
import { type Device, disposeTree, invariant, type Tensor } from "@heddle/tensor";
import type { DecoderConfig } from "../config.js";
import { findFamily } from "../families/registry.js";
import type { LoadWeightsOptions } from "../loading/load-weights.js";
import { viewedTensor } from "../loading/viewed-tensor.js";
import { locateWeights } from "../loading/weight-map.js";
import type { GgufFamily } from "./gguf-family.js";
import { factorTensors } from "./gguf-rope.js";
import { type PlannedWeight, planWeight } from "./planned-weight.js";
import { receiveWeight, type WeightReceiver } from "./receive-weight.js";
import { throughCache } from "./through-cache.js";
import { ruleOf } from "./weight-rules.js";

export interface LoadGgufWeightsOptions extends LoadWeightsOptions {
  readonly family: GgufFamily;
}

/**
 * Loads the tensors of a GGUF file into the tree of a configuration, all or none; quantised matrices stay quantised.
 *
 * Names and shapes of all tensors are checked before the first is read. The file is read in the order of its bytes, into two
 * windows of the device's memory in turns: one is filled while the other is packed. With a packed cache they come from there.
 * @returns a tree that the caller disposes, of the kind that the family's architecture builds
 * @throws HeddleError "format" listing every tensor that is missing, unexpected or of another shape
 */
export async function loadGgufWeights(
  config: DecoderConfig,
  files: GgufFiles,
  { family, packedCache, ...options }: LoadGgufWeightsOptions,
): Promise<unknown> {
  const planned = planWeights(config, files, { family, ...options });
  const weights = await throughCache(packedCache, { files, planned, ...options }, () =>
    readWeights(files, planned, options),
  );
  const byPath = new Map(planned.map(({ path }, i) => [path, weights[i]]));
  const take = (path: string) => {
    const weight = byPath.get(path);
    invariant(weight, `the weight map covers ${path}`);
    // Only matrices that a tree takes as LinearWeight or table are quantised: `formOf`.
    return weight as Tensor;
  };
  return findFamily(config.family).architecture.buildWeights(config, take);
}

function planWeights(
  config: DecoderConfig,
  { tensors }: GgufFiles,
  { family, device, dtype }: LoadGgufWeightsOptions,
): readonly PlannedWeight[] {
  const own = new Map([...tensors].filter(([name]) => !factorTensors.has(name)));
  return locateWeights(config, own, { rules: family.rules }).flatMap(({ name, parts }) => {
    const listed = own.get(name);
    invariant(listed, `${name} was located`);
    const job = { config, listed, name, rule: ruleOf(family, name), device, ...(dtype && { dtype }) };
    let start = 0;
    return parts.map((part) => {
      const planned = planWeight(job, part, start);
      start = planned.end;
      return planned;
    });
  });
}

/** Reads and packs the weights from the GGUF file, in the order of `planned`. */
async function readWeights(
  files: GgufFiles,
  planned: readonly PlannedWeight[],
  { device, onProgress, signal }: LoadWeightsOptions,
): Promise<readonly (Tensor | QuantTensor)[]> {
  const totalBytes = planned.reduce((sum, { start, end }) => sum + end - start, 0);
  const receivers: WeightReceiver[] = [];
  const made: (Tensor | QuantTensor)[] = [];
  let loadedBytes = 0;
  using windows = createWindows(device, totalBytes);
  try {
    for (const weight of planned) receivers.push(receiveWeight(weight));
    const ranges = inFileOrder(receivers, files.tensors);
    for await (const { range, bytes, place } of files.pieces(ranges, windows)) {
      signal?.throwIfAborted();
      range.write(bytes, place && windows.placeOf(place));
      loadedBytes += bytes.byteLength;
      onProgress?.({ loadedBytes, totalBytes });
    }
    for (const receiver of receivers) made.push(receiver.finish());
    return made;
  } catch (error) {
    for (const { dispose } of receivers.slice(made.length)) dispose();
    disposeTree(made);
    throw error;
  }
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

/** Two pieces of the device's memory into which a file is read; made when asked for, none where it cannot be written from here. */
function createWindows(device: Device, totalBytes: number) {
  const size = Math.min(WINDOW_BYTES, Math.ceil(totalBytes / 64) * 64);
  const tensors: Tensor[] = [];
  const viewed = () => {
    const made = viewedTensor(device, { shape: [size], dtype: "u8" });
    if (made !== undefined) tensors.push(made.tensor);
    return made?.bytes;
  };
  return {
    windows(): readonly [Uint8Array, Uint8Array] | undefined {
      const first = viewed();
      const second = first && viewed();
      return first && second && [first, second];
    },
    placeOf({ window, from }: { readonly window: 0 | 1; readonly from: number }) {
      const bytes = tensors[window];
      return bytes === undefined || tensors.length < 2 ? undefined : { bytes, from };
    },
    [Symbol.dispose]() {
      for (const window of tensors) window.dispose();
    },
  };
}
