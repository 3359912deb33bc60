import {
  type FunctionBuilder,
  f32x4,
  i8x16,
  i16x8,
  i32,
  i32x4,
  type Local,
  type Value,
  v128,
} from "@heddle/tensor/kernel";
import type { QuantisedFormat, QuantisedStores } from "../quantised-format.js";
import type { KeyView } from "./flash-forward.wasm.js";
import { multiplyAddFor } from "./tile-matmul.js";

type Address = Local<"i32">;

/** Quantised rows of one slot and head. */
export interface QuantisedView extends QuantisedFormat {
  readonly stores: QuantisedStores<Address>;
  /** Head of all slots. */
  readonly head: Address;
  readonly maxSeqLen: Address;
  readonly tail: Address;
  /** Keys from this position on are in the tail. */
  readonly complete: Address;
  readonly headDim: number;
  readonly valueDim: number;
  readonly features: Parameters<typeof multiplyAddFor>[0];
  /** Where rows go: keys, then values. */
  readonly stage: Address;
  readonly stagedKeys: number;
}

/** Rows of a tile, made f32 in the stage. */
export function quantisedRows(f: FunctionBuilder, view: QuantisedView): KeyView["rowsAt"] {
  const { stores, head, maxSeqLen, tail, complete, headDim, valueDim, bits, group, stage } = view;
  const bytes = (width: number) => (width * bits) / 8;
  return (firstKey, numKeys) => {
    const key = f.let(stage);
    const value = f.let(i32.add(stage, view.stagedKeys * headDim * 4 + 32)); // rows may end 7 elements late
    const [keyTo, valueTo] = [f.let(key), f.let(value)];
    const position = f.let(firstKey);
    f.for(0, numKeys, 1, () => {
      const row = f.let(i32.add(i32.mul(head, maxSeqLen), position));
      f.if(
        i32.ltS(position, complete),
        () => {
          const groups = i32.divU(maxSeqLen, group);
          const groupRow = i32.add(i32.mul(head, groups), i32.divU(position, group));
          const scales = f.let(i32.mul(groupRow, headDim * 4));
          const source = f.let(i32.add(stores.key, i32.mul(row, bytes(headDim))));
          const channels = { scale: i32.add(stores.keyScale, scales), min: i32.add(stores.keyMin, scales) };
          emitUnpack(f, view, { source, target: keyTo, width: headDim, ...perChannel(f, channels) });
        },
        () => {
          const tailRow = i32.add(i32.mul(head, tail), i32.remU(position, tail));
          f.copyMemory(keyTo, i32.add(stores.keyTail, i32.mul(tailRow, headDim * 4)), headDim * 4);
        },
      );
      const scale = f.let(v128.load32Splat(i32.add(stores.valueScale, i32.shl(row, 2))));
      const min = f.let(v128.load32Splat(i32.add(stores.valueMin, i32.shl(row, 2))));
      const source = f.let(i32.add(stores.value, i32.mul(row, bytes(valueDim))));
      emitUnpack(f, view, { source, target: valueTo, width: valueDim, scale: () => scale, min: () => min });
      f.increase(keyTo, headDim * 4);
      f.increase(valueTo, valueDim * 4);
      f.increase(position, 1);
    });
    return { key, value };
  };
}

interface UnpackRow {
  readonly source: Address;
  readonly target: Address;
  readonly width: number;
  /** Scale and minimum of four elements, `at` bytes of f32 behind the first. */
  readonly scale: (at: Address, byteOffset: number) => Value<"v128">;
  readonly min: (at: Address, byteOffset: number) => Value<"v128">;
}

function perChannel(
  f: FunctionBuilder,
  { scale, min }: { readonly scale: Value<"i32">; readonly min: Value<"i32"> },
): Pick<UnpackRow, "scale" | "min"> {
  const [scaleAt, minAt] = [f.let(scale), f.let(min)];
  return {
    scale: (at, byteOffset) => v128.load(i32.add(scaleAt, at), byteOffset),
    min: (at, byteOffset) => v128.load(i32.add(minAt, at), byteOffset),
  };
}

/** Emits target = min + scale code, in vectors that may end behind the row: what follows is written later. */
function emitUnpack(f: FunctionBuilder, view: QuantisedView, row: UnpackRow): void {
  const madd = multiplyAddFor(view.features);
  const at = f.let(i32.const(0));
  const from = f.let(row.source);
  const put = (codes: Value<"v128">, byteOffset: number) => {
    const x = f32x4.convertI32x4U(codes);
    const result = madd(x, row.scale(at, byteOffset), row.min(at, byteOffset));
    f.store("v128", i32.add(row.target, at), result, byteOffset);
  };
  // Eight elements a round; the stage has room behind its last row.
  f.for(0, Math.ceil(row.width / 8), 1, () => {
    const packed = view.bits === 8 ? v128.load64Zero(from) : spreadNibbles(f, v128.load32Zero(from));
    const halves = f.let(i16x8.extendLowI8x16U(packed));
    put(i32x4.extendLowI16x8U(halves), 0);
    put(i32x4.extendHighI16x8U(halves), 16);
    f.increase(from, view.bits);
    f.increase(at, 32);
  });
}

/** The eight low and high halves of four bytes, in order, as bytes. */
function spreadNibbles(f: FunctionBuilder, packed: Value<"v128">): Value<"v128"> {
  const bytes = f.let(packed);
  const low = v128.and(bytes, i8x16.splat(15));
  const high = i8x16.shrU(bytes, 4);
  return i8x16.shuffle(low, high, [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23]);
}
