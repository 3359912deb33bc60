import { byteWidth } from "@heddle/tensor";
import { assemble, i32, type Value, type WasmKernelFactory } from "@heddle/tensor/kernel";
import { isInside } from "./cache-view.js";

/** WebAssembly kernel of `appendKv` for any dtype: one unit copies the tokens of one batch row and kv head. */
export const appendKvWasm: WasmKernelFactory<Record<string, never>> = (call, features) => {
  const [keys, values, key] = call.inputs;
  if (keys === undefined || values === undefined || key === undefined) return undefined;
  const [numSlots = 0, numKvHeads = 0, maxSeqLen = 0, headDim = 0] = keys.shape;
  const valueDim = values.shape[3] ?? 0;
  const [batch = 0, , length = 0] = key.shape;
  const keyBytes = headDim * byteWidth(keys.dtype);
  const valueBytes = valueDim * byteWidth(values.dtype);
  const emit = () =>
    assemble({ sharedMemory: features.sharedMemory }, (f) => {
      const next = () => f.param("i32");
      const [keyCache, valueCache, newKeys, newValues] = [next(), next(), next(), next()];
      const [slots, starts, begin, end] = [next(), next(), next(), next()];
      f.for(begin, end, 1, (unit) => {
        const row = f.let(i32.divU(unit, numKvHeads));
        const head = i32.sub(unit, i32.mul(row, numKvHeads));
        const slot = f.let(i32.load(i32.add(slots, i32.shl(row, 2))));
        const start = f.let(i32.load(i32.add(starts, i32.shl(row, 2))));
        f.if(isInside({ slot, start }, { numSlots, maxSeqLen, length }), () => {
          const to = f.let(i32.add(i32.mul(i32.add(i32.mul(slot, numKvHeads), head), maxSeqLen), start));
          const from = f.let(i32.mul(unit, length));
          const copy = (target: Value<"i32">, source: Value<"i32">, rowBytes: number) =>
            f.copyMemory(
              i32.add(target, i32.mul(to, rowBytes)),
              i32.add(source, i32.mul(from, rowBytes)),
              length * rowBytes,
            );
          copy(keyCache, newKeys, keyBytes);
          copy(valueCache, newValues, valueBytes);
        });
      });
    });
  const extents = [numSlots, numKvHeads, maxSeqLen, keyBytes, valueBytes, length];
  return {
    steps: [
      {
        module: { key: `append-kv ${extents} shared ${features.sharedMemory}`, emit },
        args: Array.from({ length: 6 }, (_, index) => ({ kind: "buffer", index }) as const),
        units: batch * numKvHeads,
        grain: Math.max(1, Math.ceil(65_536 / (length * (headDim + valueDim)))),
      },
    ],
  };
};
