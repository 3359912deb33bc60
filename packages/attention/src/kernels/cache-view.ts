import {
  type FunctionBuilder,
  i32,
  type KernelArgument,
  type Local,
  select,
  type Value,
} from "@heddle/tensor/kernel";
import type { FlashShape } from "../flash-params.js";
import type { KeyView } from "./flash-forward.wasm.js";

type Address = Local<"i32">;

/** Buffers of a cached attention launch. */
export interface CacheBuffers {
  readonly query: Address;
  readonly key: Address;
  readonly value: Address;
  readonly slots: Address;
  readonly starts: Address;
  readonly out: Address;
}

/** Emits whether `length` tokens from `start` lie inside of the slot, and the slot inside of the cache. */
export function isInside(
  { slot, start }: { slot: Value<"i32">; start: Value<"i32"> },
  { numSlots, maxSeqLen, length }: { numSlots: number; maxSeqLen: number; length: number },
): Value<"i32"> {
  // Unsigned comparisons refuse negative numbers, too. An empty range of starts refuses every row.
  return i32.and(i32.ltU(slot, numSlots), i32.ltU(start, Math.max(0, maxSeqLen - length + 1)));
}

export function declareCacheBuffers(f: FunctionBuilder): CacheBuffers {
  const next = () => f.param("i32");
  return { query: next(), key: next(), value: next(), slots: next(), starts: next(), out: next() };
}

export function cacheArguments(): KernelArgument[] {
  return Array.from({ length: 6 }, (_, index) => ({ kind: "buffer", index }));
}

/** Emits the view of one batch row's slot: as many keys as its last query stands after; none outside of the cache. */
export function emitCachedKeys(
  f: FunctionBuilder,
  { shape, numSlots, buffers }: { shape: FlashShape; numSlots: number; buffers: CacheBuffers },
  { batchRow, kvHead }: { batchRow: Address; kvHead: Address },
): KeyView {
  const { numKvHeads, keyLen, queryLen, headDim, valueDim } = shape;
  const slot = f.let(i32.load(i32.add(buffers.slots, i32.shl(batchRow, 2))));
  const start = f.let(i32.load(i32.add(buffers.starts, i32.shl(batchRow, 2))));
  const inside = f.let(isInside({ slot, start }, { numSlots, maxSeqLen: keyLen, length: queryLen }));
  const safeSlot = select(inside, slot, i32.const(0));
  const row = f.let(i32.mul(i32.add(i32.mul(safeSlot, numKvHeads), kvHead), keyLen));
  return {
    key: f.let(i32.add(buffers.key, i32.mul(row, headDim * 4))),
    value: f.let(i32.add(buffers.value, i32.mul(row, valueDim * 4))),
    numKeys: f.let(select(inside, i32.add(start, queryLen), i32.const(0))),
    offset: f.let(select(inside, start, i32.const(0))),
  };
}
