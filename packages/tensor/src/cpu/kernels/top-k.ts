import type { FunctionBuilder } from "../../wasm/assembler.js";
import { i32, i64 } from "../../wasm/scalar.js";
import { f32x4, i32x4 } from "../../wasm/simd.js";
import { type Local, select, type Value } from "../../wasm/value.js";
import type { CpuFeatures, LoweredKernel } from "../kernel.js";
import { foldKind } from "./fold.js";
import { argument, kernelStep } from "./kernel-step.js";
import { elementAddress, type LaneDType, loadLanes, storeLanes } from "./lanes.js";

export interface TopKShape {
  readonly rows: number;
  readonly columns: number;
  /** At most `columns`; equal to it for a full sort. */
  readonly k: number;
  readonly largest: boolean;
  readonly dtype: LaneDType;
}

/**
 * The k largest (or smallest) elements of each row in order, and their indices. Equal elements keep their order, NaN comes first.
 *
 * Buffers: x [rows, columns], values [rows, k], indices i32 [rows, k].
 *
 * Each element becomes a 64-bit rank: its value as an unsigned number that sorts alike, then the index reversed. A min-heap
 * holds the k highest ranks; most elements fail against its root. Taking the root k times leaves the heap sorted, best first.
 */
export function topKKernel(
  { rows, columns, k, largest, dtype }: TopKShape,
  features: CpuFeatures,
): LoweredKernel {
  if (k === 0) return { steps: [], scratchBytes: 0 };
  const step = kernelStep(
    {
      key: `topK/${dtype}/${largest}`,
      features,
      args: [...[0, 1, 2].map(argument.buffer), argument.scratch(0), argument.i32(columns), argument.i32(k)],
      units: rows,
      grain: 8192 / (columns + k * 16),
    },
    (f, parameters, { begin, end }) => {
      const [source = begin, values = begin, indices = begin, scratch = begin, count = begin, size = begin] =
        [...parameters] as Local<"i32">[];
      f.for(begin, end, 1, (row) => {
        const line = f.let(elementAddress(source, i32.mul(row, count), dtype));
        const heap = f.let(i32.add(scratch, i32.shl(i32.mul(row, size), 3)));
        const rankOf = (i: Local<"i32">) => {
          const lanes = loadLanes(f, dtype, elementAddress(line, i, dtype), { width: 1 });
          const high = i64.shl(i64.extendI32U(sortable(f, lanes, { dtype, largest })), 32n);
          return f.let(i64.or(high, i64.extendI32U(i32.xor(i, -1))));
        };
        f.for(0, size, 1, (i) => f.store("i64", slot(heap, i), rankOf(i)));
        const parent = f.let(i32.sub(i32.shrU(size, 1), 1));
        f.while(i32.geS(parent, 0), () => {
          siftDown(f, heap, { from: parent, size, rank: f.let(i64.load(slot(heap, parent))) });
          f.increase(parent, -1);
        });
        f.for(size, count, 1, (i) => {
          const rank = rankOf(i);
          f.if(i64.gtU(rank, i64.load(heap)), () => siftDown(f, heap, { from: i32.const(0), size, rank }));
        });
        sortHeap(f, heap, size);
        f.for(0, size, 1, (j) => {
          const index = f.let(i32.xor(i32.wrapI64(i64.load(slot(heap, j))), -1));
          const value = loadLanes(f, dtype, elementAddress(line, index, dtype), { width: 1 });
          const out = f.let(i32.add(i32.mul(row, size), j));
          storeLanes(f, dtype, elementAddress(values, out, dtype), { value, width: 1 });
          f.store("i32", elementAddress(indices, out, "i32"), index);
        });
      });
    },
  );
  return { steps: [step], scratchBytes: rows * k * 8 };
}

const slot = (heap: Local<"i32">, i: Value<"i32">) => i32.add(heap, i32.shl(i, 3));

/** A value as an unsigned number of the same order (reversed for the smallest); NaN as the highest, -0 as 0. */
function sortable(
  f: FunctionBuilder,
  lanes: Local<"v128">,
  { dtype, largest }: { dtype: LaneDType; largest: boolean },
): Value<"i32"> {
  const kind = foldKind(dtype);
  const bits = f.let(i32x4.extract(kind === "float" ? f32x4.add(lanes, 0) : lanes, 0));
  const signFlip =
    kind === "float"
      ? i32.or(i32.shrS(bits, 31), 0x80000000 | 0)
      : i32.const(kind === "signed" ? 0x80000000 | 0 : 0);
  const ascending = i32.xor(bits, signFlip);
  const ordered = largest ? ascending : i32.xor(ascending, -1);
  if (kind !== "float") return ordered;
  const isNumber = i32.leU(i32.and(bits, 0x7fffffff), 0x7f800000);
  return select(isNumber, ordered, i32.const(-1));
}

/** Puts a rank into the place at `from` and moves it down until no child is lower. */
function siftDown(
  f: FunctionBuilder,
  heap: Local<"i32">,
  { from, size, rank }: { from: Value<"i32">; size: Local<"i32">; rank: Local<"i64"> },
): void {
  const place = f.let(from);
  const child = f.local("i32");
  const lower = f.local("i64");
  f.block((done) =>
    f.loop((again) => {
      f.set(child, i32.add(i32.shl(place, 1), 1));
      f.branchIf(done, i32.geS(child, size));
      f.set(lower, i64.load(slot(heap, child)));
      f.if(i32.ltS(i32.add(child, 1), size), () => {
        const sibling = f.let(i64.load(slot(heap, child), 8));
        f.if(i64.ltU(sibling, lower), () => {
          f.set(lower, sibling);
          f.increase(child, 1);
        });
      });
      f.branchIf(done, i64.leU(rank, lower));
      f.store("i64", slot(heap, place), lower);
      f.set(place, child);
      f.branch(again);
    }),
  );
  f.store("i64", slot(heap, place), rank);
}

/** Moves the lowest rank to the end again and again: the array ends highest first. */
function sortHeap(f: FunctionBuilder, heap: Local<"i32">, size: Local<"i32">): void {
  const last = f.let(i32.sub(size, 1));
  f.while(i32.gtS(last, 0), () => {
    const rank = f.let(i64.load(slot(heap, last)));
    f.store("i64", slot(heap, last), i64.load(heap));
    siftDown(f, heap, { from: i32.const(0), size: last, rank });
    f.increase(last, -1);
  });
}
