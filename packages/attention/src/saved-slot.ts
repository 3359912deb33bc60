import { arange, HeddleError, type HostData, scope, Tensor, take, tensor, writeInto } from "@heddle/tensor";
import { gatherRows } from "./cache-placement.js";
import { appendKv, type KvCache, type KvLayer, placementOf } from "./kv-cache.js";
import { dequantiseRows } from "./quantised-format.js";

/** The keys and values of one slot, on the host: plain data. */
export interface SavedSlot {
  /** Position of the first token; later than 0 where a sliding cache has dropped the ones before. */
  readonly start: number;
  /** Number of tokens. */
  readonly length: number;
  readonly layers: readonly { readonly key: HostData; readonly value: HostData }[];
}

/**
 * Copies what a slot holds to the host: positions 0..length-1, or as many of the last of them as a sliding cache keeps.
 *
 * Memory: numLayers x length x G x (D + Dv) numbers. Quantised caches give the values that they stand for.
 * @returns plain data, independent of the cache
 * @throws HeddleError "config" if length is not a whole number above 0
 */
export async function saveSlot(cache: KvCache<KvLayer>, slot: number, length: number): Promise<SavedSlot> {
  checkLength("saveSlot", length);
  const kept = Math.min(
    length,
    ...cache.layers.map((layer) => (layer.kind === "sliding" ? layer.window : length)),
  );
  const start = length - kept;
  const layers = cache.layers.map((layer) => {
    const { device } = layer.key;
    return scope(device, () => {
      const slots = tensor(device, Int32Array.of(slot));
      if (layer.kind === "quantised") {
        const ends = tensor(device, Int32Array.of(length));
        const [key, value] = dequantiseRows(layer, { bits: layer.bits, group: layer.group, slots, ends });
        return { key: key.narrow(2, 0, length), value: value.narrow(2, 0, length) };
      }
      const positions = arange(device, { start, stop: length }, { dtype: "i32" }).reshape([1, kept]);
      const read = (store: Tensor) => gatherRows(store, { ...placementOf(layer), slots, positions });
      return { key: read(layer.key), value: read(layer.value) };
    });
  });
  const saved = await Promise.all(
    layers.map(async ({ key, value }) => {
      const data = { key: await key.data(), value: await value.data() };
      key.dispose();
      value.dispose();
      return data;
    }),
  );
  return { start, length: kept, layers: saved };
}

/**
 * Writes a saved slot into a slot of a cache of the same extents, of any kind. In a paged cache, `reserve` its positions first.
 *
 * @throws HeddleError "shape" if the cache has other layers or extents
 */
export function restoreSlot(cache: KvCache<KvLayer>, slot: number, saved: SavedSlot): void {
  if (saved.layers.length !== cache.layers.length) {
    throw new HeddleError(
      "shape",
      `restoreSlot: the cache must have the layers that were saved; got ${cache.layers.length} layers, saved ${saved.layers.length}. Restore into a cache of the same model.`,
      { layers: cache.layers.length, saved: saved.layers.length },
    );
  }
  for (const [index, layer] of cache.layers.entries()) {
    const { device } = layer.key;
    const data = saved.layers[index];
    if (data === undefined) continue;
    scope(device, () => {
      const { keyDim, valueDim } = rowSizes(layer);
      const load = (values: HostData, { shape }: Tensor, name: string) => {
        const numKvHeads = shape[1] ?? 0;
        const width = name === "key" ? keyDim : valueDim;
        const wanted = numKvHeads * saved.length * width;
        if (values.length !== wanted) {
          throw new HeddleError(
            "shape",
            `restoreSlot: ${name} of layer ${index} must hold ${wanted} numbers; got ${values.length}. Restore into a cache of the same model.`,
            { layer: index, wanted, got: values.length },
          );
        }
        return tensor(device, values as Float32Array, {
          shape: [1, numKvHeads, saved.length, width],
          dtype: device.defaultFloat,
        });
      };
      const [key, value] = [load(data.key, layer.key, "key"), load(data.value, layer.value, "value")];
      const slots = tensor(device, Int32Array.of(slot));
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

/**
 * Makes slot i hold what slot order[i] held, for all slots at once: what beam search does after each step.
 *
 * Contiguous and sliding caches copy rows; a paged cache only shares pages: use its `fork`.
 * @param order  one slot for each slot of the cache
 * @throws HeddleError "shape" if order has another length, "unsupported" for a paged cache
 */
export function reorderSlots(cache: KvCache<KvLayer>, order: ArrayLike<number>): void {
  for (const layer of cache.layers) {
    if (layer.kind === "paged") {
      throw new HeddleError(
        "unsupported",
        "reorderSlots: slots of a paged cache share pages; got a paged cache. Call its fork for each beam.",
        { kind: layer.kind },
      );
    }
    const numSlots = layer.key.shape[0] ?? 0;
    if (order.length !== numSlots) {
      throw new HeddleError(
        "shape",
        `reorderSlots: order must name a slot for each slot; got ${order.length} for ${numSlots} slots. Name a slot itself to keep it.`,
        { order: order.length, numSlots },
      );
    }
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

/** D and Dv of a layer. */
function rowSizes(layer: KvLayer): { readonly keyDim: number; readonly valueDim: number } {
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
