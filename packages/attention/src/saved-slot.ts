import { arange, HeddleError, type HostData, scope, Tensor, take, tensor, writeInto } from "@heddle/tensor";
import { type AnyCache, failPageless, treeOf } from "./any-cache.js";
import { appendRows } from "./append-rows.js";
import { gatherRows } from "./cache-placement.js";
import { appendKv, placementOf } from "./kv-cache.js";
import type { KvLayer } from "./kv-layer.js";
import type { LatentKvLayer } from "./latent.js";
import { dequantiseRows } from "./quantised-format.js";

/** The keys and values of one slot, on the host: plain data. */
export interface SavedSlot {
  /** Position of the first token; later than 0 where a sliding cache has dropped the ones before. */
  readonly start: number;
  /** Number of tokens. */
  readonly length: number;
  /** Keys [G, length, D] and values [G, length, Dv]; of latent layers latents with their rotated keys, and no values. */
  readonly layers: readonly { readonly key: HostData; readonly value?: HostData }[];
}

/**
 * Copies what a slot holds to the host: positions 0..length-1, or as many of the last of them as a sliding cache keeps.
 *
 * Memory: numLayers x length x G x (D + Dv) numbers. Quantised caches give the values that they stand for.
 * @returns plain data, independent of the cache
 * @throws HeddleError "config" if length is not a whole number above 0
 * @see `restoreSlot`: keys and values of a prompt are worth keeping, as in Gim et al. 2023, Prompt Cache, arXiv:2311.04934
 */
export async function saveSlot(cache: AnyCache, slot: number, length: number): Promise<SavedSlot> {
  checkLength("saveSlot", length);
  const tree = treeOf(cache);
  const kept = Math.min(
    length,
    ...tree.layers.map((layer) => (layer.kind === "sliding" ? layer.window : length)),
  );
  const start = length - kept;
  const layers = tree.layers.map((layer): { readonly key: Tensor; readonly value?: Tensor } => {
    const { device } = layer.key;
    return scope(device, () => {
      const slots = tensor(device, Int32Array.of(slot));
      if (layer.kind === "quantised") {
        const ends = tensor(device, Int32Array.of(length));
        const [key, value] = dequantiseRows(layer, { bits: layer.bits, group: layer.group, slots, ends });
        return { key: key.narrow(2, 0, length), value: value.narrow(2, 0, length) };
      }
      const positions = arange(device, { start, stop: length }, { dtype: "i32" }).reshape([1, kept]);
      const place = layer.kind === "latent" ? ({ placement: "contiguous" } as const) : placementOf(layer);
      const read = (store: Tensor) => gatherRows(store, { ...place, slots, positions });
      const key = read(layer.key);
      return layer.kind === "latent" ? { key } : { key, value: read(layer.value) };
    });
  });
  const saved = await Promise.all(
    layers.map(async ({ key, value }) => {
      const data = { key: await key.data(), ...(value && { value: await value.data() }) };
      key.dispose();
      value?.dispose();
      return data;
    }),
  );
  return { start, length: kept, layers: saved };
}

/**
 * Writes a saved slot into a slot of a cache of the same extents, of any kind. A paged cache takes the pages that it needs; of
 * its tensors alone, positions without a page are not written.
 *
 * Shapes: saved keys [G, length, D] and values [G, length, Dv] of each layer.
 * @returns nothing: the cache changes
 * @throws HeddleError "shape" if the cache has other layers or extents, "capacity" if a paged cache has too few pages left
 * @see Gim et al. 2023, Prompt Cache, arXiv:2311.04934 (attention states that are used again)
 */
export function restoreSlot(cache: AnyCache, slot: number, saved: SavedSlot): void {
  const { layers } = treeOf(cache);
  if (saved.layers.length !== layers.length) {
    throw new HeddleError(
      "shape",
      `restoreSlot: the cache must have the layers that were saved; got ${layers.length} layers, saved ${saved.layers.length}. Restore into a cache of the same model.`,
      { layers: layers.length, saved: saved.layers.length },
    );
  }
  if ("pages" in cache) cache.reserve(slot, { from: saved.start, to: saved.start + saved.length });
  for (const [index, layer] of layers.entries()) {
    const { device } = layer.key;
    const data = saved.layers[index];
    if (data === undefined) continue;
    scope(device, () => {
      const numKvHeads = layer.key.shape[1] ?? 0;
      const { keyDim, valueDim } = rowSizes(layer);
      const load = (name: "key" | "value", width: number) => {
        const values = data[name] ?? new Float32Array();
        const wanted = numKvHeads * saved.length * width;
        if (values.length !== wanted) failSize({ name, index, wanted, got: values.length });
        return tensor(device, values as Float32Array, {
          shape: [1, numKvHeads, saved.length, width],
          dtype: device.defaultFloat,
        });
      };
      const slots = tensor(device, Int32Array.of(slot));
      const key = load("key", keyDim);
      if (layer.kind === "latent") {
        const starts = tensor(device, Int32Array.of(saved.start));
        appendRows({ key: layer.key }, { key }, { slots, starts, placement: "contiguous" });
        return undefined;
      }
      const value = load("value", valueDim);
      const step =
        layer.kind === "quantised" ? (layer.keyTail.shape[2] ?? 1) - layer.group + 1 : saved.length;
      for (let from = 0; from < saved.length; from += step) {
        const to = Math.min(saved.length, from + step);
        const starts = tensor(device, Int32Array.of(saved.start + from));
        appendKv(layer, key.narrow(2, from, to), value.narrow(2, from, to), { slots, starts });
      }
      return undefined;
    });
  }
}

function failSize(found: { name: string; index: number; wanted: number; got: number }): never {
  const { name, index, wanted, got } = found;
  throw new HeddleError(
    "shape",
    `restoreSlot: ${name} of layer ${index} must hold ${wanted} numbers; got ${got}. Restore into a cache of the same model.`,
    { layer: index, wanted, got },
  );
}

/**
 * Makes slot i hold what slot order[i] held, for all slots at once: what beam search does after each step.
 *
 * Rows are copied; in a paged cache slots share their pages, and copy one when they write to it.
 * @param order  one slot for each slot of the cache
 * @throws HeddleError "shape" if order has another length, "capacity" if it names a slot that the cache does not have,
 * "unsupported" for the tensors of a paged cache without its pages
 * @returns nothing: the cache changes
 * @see Kwon et al. 2023, PagedAttention, arXiv:2309.06180, section 4.4 (beam search over shared blocks)
 */
export function reorderSlots(cache: AnyCache, order: ArrayLike<number>): void {
  if ("pages" in cache) {
    checkOrder(order, cache.pages.entries.length / cache.pages.pagesPerSlot);
    cache.reorder(order);
    return;
  }
  for (const layer of cache.layers) {
    if (layer.kind === "paged") failPageless("reorderSlots");
    checkOrder(order, layer.key.shape[0] ?? 0);
    const { device } = layer.key;
    scope(device, () => {
      const indices = tensor(device, Int32Array.from(order));
      for (const store of Object.values(layer)) {
        if (store instanceof Tensor) writeInto(store, take(store, indices));
      }
      return undefined;
    });
  }
}

function checkOrder(order: ArrayLike<number>, numSlots: number): void {
  if (order.length !== numSlots) {
    throw new HeddleError(
      "shape",
      `reorderSlots: order must name a slot for each slot; got ${order.length} for ${numSlots} slots. Name a slot itself to keep it.`,
      { order: order.length, numSlots },
    );
  }
  const stranger = Array.from(order).find(
    (slot) => !(Number.isInteger(slot) && slot >= 0 && slot < numSlots),
  );
  if (stranger === undefined) return;
  throw new HeddleError(
    "capacity",
    `reorderSlots: order must name slots 0..${numSlots - 1}; got slot ${stranger}. Name a slot itself to keep it.`,
    { slot: stranger, numSlots },
  );
}

/** D and Dv of a layer. */
function rowSizes(layer: KvLayer | LatentKvLayer): { readonly keyDim: number; readonly valueDim: number } {
  if (layer.kind === "latent") return { keyDim: layer.key.shape[3] ?? 0, valueDim: 0 };
  const [keyDim = 0, valueDim = 0] = [layer.key.shape[3], layer.value.shape[3]];
  if (layer.kind !== "quantised") return { keyDim, valueDim };
  return { keyDim: (keyDim * 8) / layer.bits, valueDim: (valueDim * 8) / layer.bits };
}

function checkLength(caller: string, length: number): void {
  if (Number.isInteger(length) && length > 0) return;
  throw new HeddleError(
    "config",
    `${caller}: length must be a whole number above 0; got length ${length}. An empty slot has nothing to save.`,
    { length },
  );
}
