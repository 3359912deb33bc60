import {
  arange,
  type DType,
  defineOp,
  type Op,
  stack,
  type Tensor,
  type TensorType,
  take,
  where,
} from "@heddle/tensor";
import { gatherRows } from "./cache-placement.js";

/** How a quantised cache rounds; plain data. */
export interface QuantisedFormat {
  readonly bits: 8 | 4;
  /** Tokens that share the scales of their keys. */
  readonly group: number;
}

/** The stores of a layer. */
export interface QuantisedStores<T> {
  readonly key: T;
  readonly keyScale: T;
  readonly keyMin: T;
  readonly keyTail: T;
  readonly value: T;
  readonly valueScale: T;
  readonly valueMin: T;
}

/** Inputs of the append op by name: seven stores, new keys and values, slots, starts. */
export function quantisedInputs<T>(inputs: readonly T[]): {
  readonly stores: QuantisedStores<T>;
  readonly key: T;
  readonly value: T;
  readonly slots: T;
  readonly starts: T;
} {
  const [key, keyScale, keyMin, keyTail, value, valueScale, valueMin] = inputs as readonly [
    T,
    T,
    T,
    T,
    T,
    T,
    T,
  ];
  const [newKey, newValue, slots, starts] = inputs.slice(7) as [T, T, T, T];
  const stores = { key, keyScale, keyMin, keyTail, value, valueScale, valueMin };
  return { stores, key: newKey, value: newValue, slots, starts };
}

/**
 * What the rows of a batch read: keys [B, G, S, D] and values [B, G, S, Dv]. Row b reads groups complete before position ends[b] as
 * codes, later keys from the tail. Zeros for slots outside of the cache.
 */
export function dequantiseRows(
  stores: QuantisedStores<Tensor>,
  { bits, group, slots, ends }: QuantisedFormat & { readonly slots: Tensor; readonly ends: Tensor },
): readonly [Tensor, Tensor] {
  const { key, keyScale, keyMin, keyTail, value, valueScale, valueMin } = stores;
  const inputs = [key, keyScale, keyMin, keyTail, value, valueScale, valueMin, slots, ends];
  return dequantiseOp.apply(inputs, { bits, group }) as [Tensor, Tensor];
}

const dequantiseOp: Op<QuantisedFormat> = defineOp({
  name: "dequantiseKv",
  infer(inputs, { bits }) {
    const [key, , , tail, value, , , slots] = inputs as readonly TensorType[];
    const batch = slots?.shape[0] ?? 0;
    const [, numKvHeads = 0, maxSeqLen = 0] = key?.shape ?? [];
    const dtype = tail?.dtype ?? "f32";
    const widths = [tail?.shape[3] ?? 0, ((value?.shape[3] ?? 0) * 8) / bits];
    return widths.map((width) => ({ shape: [batch, numKvHeads, maxSeqLen, width], dtype }));
  },
  reference(inputs, { bits, group }) {
    const [key, keyScale, keyMin, keyTail, value, valueScale, valueMin, slots, ends] = inputs as Nine;
    const { device } = keyTail;
    const [numSlots = 0, numKvHeads = 0, maxSeqLen = 0] = value.shape;
    const batch = slots.shape[0] ?? 0;
    // Slots outside of the cache are read as the first, and give zeros.
    const isInside = slots.greaterEqual(0).logicalAnd(slots.less(numSlots));
    const own = slots.mul(isInside.cast("i32"));
    const row = (x: Tensor) => x.reshape([batch, 1, 1, 1]);
    const ofSlots = (store: Tensor) => take(store, own);
    const perToken = (store: Tensor) => {
      const [, , groups = 0, width = 0] = store.shape;
      return ofSlots(store)
        .reshape([batch, numKvHeads, groups, 1, width])
        .broadcastTo([batch, numKvHeads, groups, group, width])
        .reshape([batch, numKvHeads, maxSeqLen, width]);
    };
    const rounded = perToken(keyMin).add(perToken(keyScale).mul(codesOf(ofSlots(key), bits, keyTail.dtype)));
    const positions = arange(device, maxSeqLen, { dtype: "i32" });
    const everywhere = positions.reshape([1, maxSeqLen]).broadcastTo([batch, maxSeqLen]);
    const newest = gatherRows(keyTail, { placement: "ring", slots: own, positions: everywhere });
    const complete = row(ends.cast(device.defaultFloat).add(0.5).div(group).floor().cast("i32").mul(group));
    const isRounded = positions.reshape([1, 1, maxSeqLen, 1]).less(complete);
    const values = ofSlots(valueMin).add(
      ofSlots(valueScale).mul(codesOf(ofSlots(value), bits, keyTail.dtype)),
    );
    const inside = row(isInside);
    return [where(inside, where(isRounded, rounded, newest), 0), where(inside, values, 0)];
  },
  evaluate(inputs, outputs, { bits, group }) {
    const [key, keyScale, keyMin, keyTail, value, valueScale, valueMin, slots, ends] = inputs;
    const [keys, values] = outputs;
    if (!key || !keyScale || !keyMin || !keyTail || !value || !valueScale || !valueMin) return;
    if (!slots || !ends || !keys || !values) return;
    const [numSlots = 0] = key.shape;
    const [batch = 0, numKvHeads = 0, maxSeqLen = 0, headDim = 0] = keys.shape;
    const valueDim = values.shape[3] ?? 0;
    const tail = keyTail.shape[2] ?? 0;
    for (let row = 0; row < batch; row++) {
      const slot = slots.data[row] ?? -1;
      if (slot < 0 || slot >= numSlots) continue;
      const complete = Math.floor((ends.data[row] ?? 0) / group) * group;
      for (let at = 0; at < numKvHeads * maxSeqLen; at++) {
        const head = Math.floor(at / maxSeqLen);
        const position = at % maxSeqLen;
        const stored = slot * numKvHeads * maxSeqLen + at;
        const scales =
          ((slot * numKvHeads + head) * (maxSeqLen / group) + Math.floor(position / group)) * headDim;
        const newest = ((slot * numKvHeads + head) * tail + (position % tail)) * headDim;
        const target = row * numKvHeads * maxSeqLen + at;
        for (let i = 0; i < headDim; i++) {
          const code = codeAt(key.data, stored * headDim + i, bits);
          const rounded = (keyMin.data[scales + i] ?? 0) + (keyScale.data[scales + i] ?? 0) * code;
          keys.data[target * headDim + i] = position < complete ? rounded : (keyTail.data[newest + i] ?? 0);
        }
        for (let i = 0; i < valueDim; i++) {
          const code = codeAt(value.data, stored * valueDim + i, bits);
          values.data[target * valueDim + i] =
            (valueMin.data[stored] ?? 0) + (valueScale.data[stored] ?? 0) * code;
        }
      }
    }
  },
});

type Nine = [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor];

/** Bytes as codes: one of 8 bits, or two of 4 with the first in the low half. */
function codesOf(bytes: Tensor, bits: 8 | 4, dtype: DType): Tensor {
  const wide = bytes.cast(dtype);
  if (bits === 8) return wide;
  const high = wide.div(16).floor();
  const pairs = stack([wide.sub(high.mul(16)), high], { axis: 4 });
  const [batch = 0, heads = 0, rows = 0, width = 0] = bytes.shape;
  return pairs.reshape([batch, heads, rows, 2 * width]);
}

/** Element `index` of codes: a byte, or half of one. */
function codeAt(data: ArrayLike<number>, index: number, bits: 8 | 4): number {
  if (bits === 8) return data[index] ?? 0;
  const byte = data[index >> 1] ?? 0;
  return index % 2 === 0 ? byte & 15 : byte >> 4;
}
