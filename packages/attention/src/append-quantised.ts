import { defineOp, HeddleError, type Op, scope, type Tensor, type TensorType } from "@heddle/tensor";
import { type CacheRows, checkRowTypes } from "./append-rows.js";
import { appendQuantisedWasm } from "./kernels/append-quantised.wasm.js";
import { appendQuantisedWgsl } from "./kernels/append-quantised.wgsl.js";
import type { QuantisedKvLayer } from "./kv-layer.js";
import { type QuantisedFormat, quantisedInputs } from "./quantised-format.js";

/** Rounds new keys and values into a layer, in place: values and the tail at once, then the groups that became full. */
export function appendQuantised(layer: QuantisedKvLayer, key: Tensor, value: Tensor, rows: CacheRows): void {
  const { bits, group } = layer;
  const { dtype } = layer.keyTail;
  const widen = (x: Tensor) => (x.dtype === dtype ? x : x.cast(dtype));
  scope(key.device, () => {
    const stores = [
      layer.key,
      layer.keyScale,
      layer.keyMin,
      layer.keyTail,
      layer.value,
      layer.valueScale,
      layer.valueMin,
    ];
    return appendQuantisedOp.apply([...stores, widen(key), widen(value), rows.slots, rows.starts], {
      bits,
      group,
    });
  });
}

const appendQuantisedOp: Op<QuantisedFormat> = defineOp({
  name: "appendQuantisedKv",
  mutates: [0, 1, 2, 3, 4, 5, 6],
  infer(inputs, { bits }) {
    const { stores, key, value, slots, starts } = quantisedInputs(inputs);
    const [, numKvHeads, tail = 0, headDim] = stores.keyTail.shape;
    const valueDim = ((stores.value.shape[3] ?? 0) * 8) / bits;
    checkFresh("key", key, { numKvHeads, width: headDim, most: tail });
    checkFresh("value", value, { numKvHeads, width: valueDim, most: tail });
    checkRowTypes("appendKv", { slots, starts }, key.shape[0] ?? 0);
    return [];
  },
  evaluate(inputs, _, { bits, group }) {
    const { stores, key, value, slots, starts } = quantisedInputs(inputs);
    const [numSlots = 0, numKvHeads = 0, maxSeqLen = 0] = stores.value.shape;
    const [batch = 0, , length = 0, headDim = 0] = key.shape;
    const valueDim = value.shape[3] ?? 0;
    const tail = stores.keyTail.shape[2] ?? 0;
    const most = 2 ** bits - 1;
    const inside = (row: number) => {
      const [slot, start] = [slots.data[row] ?? -1, starts.data[row] ?? -1];
      return slot >= 0 && slot < numSlots && start >= 0 && start + length <= maxSeqLen;
    };
    const rowsOf = (row: number, visit: (head: number, source: number, position: number) => void) => {
      if (!inside(row)) return;
      for (let head = 0; head < numKvHeads; head++) {
        for (let t = 0; t < length; t++) {
          const at = (slots.data[row] ?? 0) * numKvHeads + head;
          visit(at, (row * numKvHeads + head) * length + t, (starts.data[row] ?? 0) + t);
        }
      }
    };
    for (let row = 0; row < batch; row++) {
      rowsOf(row, (head, source, position) => {
        const from = key.data.subarray(source * headDim, (source + 1) * headDim);
        stores.keyTail.data.set(from, (head * tail + (position % tail)) * headDim);
        const values = value.data.subarray(source * valueDim, (source + 1) * valueDim);
        const { min, scale } = spread(values, most);
        const at = head * maxSeqLen + position;
        stores.valueMin.data[at] = min;
        stores.valueScale.data[at] = scale;
        for (let i = 0; i < valueDim; i++) {
          putCode(stores.value.data, at * valueDim + i, {
            code: codeOf(values[i] ?? 0, { min, scale }),
            bits,
          });
        }
      });
    }
    for (let row = 0; row < batch; row++) {
      rowsOf(row, (head, _source, position) => {
        if ((position + 1) % group !== 0) return;
        const first = position + 1 - group;
        for (let i = 0; i < headDim; i++) {
          const column = Array.from(
            { length: group },
            (_, t) => stores.keyTail.data[(head * tail + ((first + t) % tail)) * headDim + i] ?? 0,
          );
          const { min, scale } = spread(column, most);
          const at = (head * (maxSeqLen / group) + first / group) * headDim + i;
          stores.keyMin.data[at] = min;
          stores.keyScale.data[at] = scale;
          for (const [t, x] of column.entries()) {
            const place = (head * maxSeqLen + first + t) * headDim + i;
            putCode(stores.key.data, place, { code: codeOf(x, { min, scale }), bits });
          }
        }
      });
    }
  },
  kernels: { wasm: appendQuantisedWasm, wgsl: appendQuantisedWgsl },
});

interface Spread {
  readonly min: number;
  readonly scale: number;
}

/** Minimum and step of values, in f32 as they are stored. */
function spread(values: ArrayLike<number>, most: number): Spread {
  let [min, max] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (let i = 0; i < values.length; i++) {
    min = Math.min(min, values[i] ?? 0);
    max = Math.max(max, values[i] ?? 0);
  }
  return { min, scale: (max - min) / most };
}

function codeOf(x: number, { min, scale }: Spread): number {
  if (scale === 0) return 0;
  const steps = (x - min) / scale;
  const below = Math.floor(steps);
  const rest = steps - below;
  // To the nearest, ties to even: as the machine rounds.
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}

/** Sets element `index` of codes: a byte, or half of one. */
function putCode(
  data: { [index: number]: number },
  index: number,
  { code, bits }: { readonly code: number; readonly bits: number },
): void {
  if (bits === 8) {
    data[index] = code;
    return;
  }
  const byte = index >> 1;
  const before = data[byte] ?? 0;
  data[byte] = index % 2 === 0 ? (before & 0xf0) | code : (before & 0x0f) | (code << 4);
}

function checkFresh(
  name: string,
  { shape, dtype }: TensorType,
  wanted: {
    readonly numKvHeads: number | undefined;
    readonly width: number | undefined;
    readonly most: number;
  },
): void {
  const { numKvHeads, width, most } = wanted;
  const [, heads, length = 0, freshWidth] = shape;
  if (shape.length === 4 && heads === numKvHeads && freshWidth === width && length <= most) return;
  throw new HeddleError(
    "shape",
    `appendKv: ${name} must be [batch, ${numKvHeads}, length <= ${most}, ${width}] to fit the cache; got ${name} ${dtype}[${shape.join(", ")}]. Create the cache with the model's sizes and maxNewTokens.`,
    { [name]: shape },
  );
}
