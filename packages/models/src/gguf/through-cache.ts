import type { GgufFiles } from "@heddle/checkpoints";
import type { QuantTensor } from "@heddle/quant";
import { HeddleError, type Tensor } from "@heddle/tensor";
import {
  type PackedCache,
  type PackedMiss,
  packedHead,
  type ReadPackedOptions,
  readPacked,
  writePacked,
} from "../loading/packed-cache.js";
import { type PlannedWeight, tensorsOf, tensorTypes, weightFrom } from "./planned-weight.js";

type Weights = readonly (Tensor | QuantTensor)[];

export interface CachedLoad extends ReadPackedOptions {
  readonly files: GgufFiles;
  readonly planned: readonly PlannedWeight[];
}

/** Takes planned weights from a packed cache, if there is one that fits; else by `load`, and writes the cache. */
export async function throughCache(
  cache: PackedCache | undefined,
  { files, planned, ...options }: CachedLoad,
  load: () => Promise<Weights>,
): Promise<Weights> {
  if (cache === undefined) return load();
  if (planned.every(({ form }) => form.kind === "dense")) {
    const weights = await load();
    cache.onState?.({ kind: "unneeded" });
    return weights;
  }
  const entries = planned.map((weight) => ({ path: weight.path, types: tensorTypes(weight) }));
  const fingerprint = await files.fingerprint();
  const head = await packedHead(fingerprint, entries);
  const found = await readPacked(cache, { head, entries }, options);
  if (typeof found !== "string") {
    cache.onState?.({ kind: "read" });
    let next = 0;
    return planned.map((weight, i) => {
      const start = next;
      next += entries[i]?.types.length ?? 0;
      return weightFrom(weight, found.slice(start, next));
    });
  }
  const weights = await load();
  await keep(cache, { files, fingerprint, head, weights, because: found });
  return weights;
}

interface Kept {
  readonly files: GgufFiles;
  /** Of the files before their weights were read. */
  readonly fingerprint: string;
  readonly head: Uint8Array;
  readonly weights: Weights;
  readonly because: PackedMiss;
}

/** Writes the cache. What goes wrong is told and does not concern the model, which is loaded. */
async function keep(cache: PackedCache, { files, fingerprint, head, weights, because }: Kept): Promise<void> {
  try {
    if ((await files.fingerprint({ isAnew: true })) !== fingerprint) {
      const message = `loadGguf: the file must stay the same while it is loaded; got one that changed, so that its packed form is not kept. Load it again.`;
      throw new HeddleError("format", message);
    }
    await writePacked(cache, head, weights.flatMap(tensorsOf));
  } catch (error) {
    cache.onState?.({ kind: "failed", error });
    return;
  }
  cache.onState?.({ kind: "written", because });
}
