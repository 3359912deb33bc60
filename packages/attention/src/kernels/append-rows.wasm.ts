import { byteWidth } from "@heddle/tensor";
import {
  assemble,
  i32,
  type KernelArgument,
  type Local,
  type WasmKernelFactory,
} from "@heddle/tensor/kernel";
import { type AppendParams, splitInputs } from "../append-params.js";
import { placementExtents } from "../cache-placement.js";
import { emitBlock, isInside } from "./cache-view.js";

/** WebAssembly kernel of `appendKv` for any dtype: one unit copies the tokens of one batch row and kv head. */
export const appendRowsWasm: WasmKernelFactory<AppendParams> = (call, features) => {
  const { placement, stores } = call.params;
  const { pairs, table } = splitInputs(call.inputs, stores);
  const [first] = pairs;
  if (first === undefined) return undefined;
  const [, numKvHeads = 0] = first.store.shape;
  const [batch = 0, , length = 0] = first.fresh.shape;
  const extents = placementExtents(placement, first.store, table);
  const rowBytes = pairs.map(({ store }) => (store.shape[3] ?? 0) * byteWidth(store.dtype));
  const emit = () =>
    assemble({ sharedMemory: features.sharedMemory }, (f) => {
      const next = () => f.param("i32");
      const stored = pairs.map(next);
      const fresh = pairs.map(next);
      const [slots, starts] = [next(), next()];
      const pages = table === undefined ? undefined : next();
      const [numSlots, maxSeqLen, blockRows, tokens] = [next(), next(), next(), next()];
      const [begin, end] = [next(), next()];
      f.for(begin, end, 1, (unit) => {
        const row = f.let(i32.divU(unit, numKvHeads));
        const head = f.let(i32.sub(unit, i32.mul(row, numKvHeads)));
        const slot = f.let(i32.load(i32.add(slots, i32.shl(row, 2))));
        const start = f.let(i32.load(i32.add(starts, i32.shl(row, 2))));
        const copy = (position: Local<"i32">, token: Local<"i32">, count: Local<"i32">) => {
          const { block, row: at } = emitBlock(f, { placement, pages, slot, position, maxSeqLen, blockRows });
          const to = f.let(i32.add(i32.mul(i32.add(i32.mul(block, numKvHeads), head), blockRows), at));
          const from = f.let(i32.add(i32.mul(unit, tokens), token));
          const move = () => {
            for (const [i, bytes] of rowBytes.entries()) {
              const target = i32.add(stored[i] ?? 0, i32.mul(to, bytes));
              f.copyMemory(target, i32.add(fresh[i] ?? 0, i32.mul(from, bytes)), i32.mul(count, bytes));
            }
          };
          if (placement === "paged") f.if(i32.geS(block, 0), move);
          else move();
        };
        f.if(isInside({ slot, start }, { numSlots, maxSeqLen, length: tokens }), () => {
          const zero = f.let(i32.const(0));
          if (placement === "contiguous") copy(start, zero, tokens);
          else {
            const one = f.let(i32.const(1));
            f.for(0, tokens, 1, (token) => copy(f.let(i32.add(start, token)), token, one));
          }
        });
      });
    });
  const lengths = [extents.numSlots, extents.maxSeqLen, extents.blockRows, length];
  const args: KernelArgument[] = [
    ...call.inputs.map((_, index) => ({ kind: "buffer", index }) as const),
    ...lengths.map((value) => ({ kind: "i32", value }) as const),
  ];
  return {
    steps: [
      {
        module: {
          key: `append-rows ${placement} ${numKvHeads} ${rowBytes} shared ${features.sharedMemory}`,
          emit,
        },
        args,
        units: batch * numKvHeads,
        grain: Math.max(1, Math.ceil(65_536 / (length * Math.max(1, ...rowBytes)))),
      },
    ],
  };
};
