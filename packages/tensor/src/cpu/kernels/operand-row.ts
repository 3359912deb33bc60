import type { FunctionBuilder } from "../../wasm/assembler.js";
import { i32 } from "../../wasm/scalar.js";
import type { Local, Value } from "../../wasm/value.js";
import { byteShift, gatherLanes, type LaneDType, type LaneWidth, loadLanes } from "./lanes.js";

/** How an operand moves along the innermost axis: by one element, not at all, or by some other stride. */
export type InnerMode = "contiguous" | "repeated" | "strided";

export function innerMode(stride: number): InnerMode {
  if (stride === 1) return "contiguous";
  return stride === 0 ? "repeated" : "strided";
}

/** One operand's run along the innermost axis. */
export interface OperandRow {
  readonly dtype: LaneDType;
  readonly mode: InnerMode;
  readonly pointer: Local<"i32">;
  /** Bytes from element to element. */
  readonly stride: Local<"i32">;
  /** The element in every lane, where the operand does not move. */
  readonly repeated: Local<"v128"> | undefined;
}

/** Starts a row at element `offset` of an operand; inputs that do not move are read once, here. */
export function openRow(
  f: FunctionBuilder,
  operand: { readonly dtype: LaneDType; readonly mode: InnerMode; readonly isInput: boolean },
  at: { readonly base: Value<"i32">; readonly offset: Value<"i32">; readonly innerStride: Value<"i32"> },
): OperandRow {
  const { dtype, mode, isInput } = operand;
  const pointer = f.let(i32.add(at.base, i32.shl(at.offset, byteShift(dtype))));
  const stride = f.let(i32.shl(at.innerStride, byteShift(dtype)));
  const repeated = isInput && mode === "repeated" ? loadLanes(f, dtype, pointer, { width: 1 }) : undefined;
  return { dtype, mode, pointer, stride, repeated };
}

/** Address of element i of a row. */
export function rowAddress({ dtype, mode, pointer, stride }: OperandRow, i: Value<"i32">): Value<"i32"> {
  return i32.add(pointer, mode === "strided" ? i32.mul(i, stride) : i32.shl(i, byteShift(dtype)));
}

/**
 * Loads elements skip .. skip + width - 1 from `address` (of `rowAddress`) on. Neighbouring vectors must share the address:
 * only then can the engine join them.
 */
export function loadRow(
  f: FunctionBuilder,
  row: OperandRow,
  address: Local<"i32">,
  { width, skip = 0 }: { width: LaneWidth; skip?: number },
): Local<"v128"> {
  if (row.repeated) return row.repeated;
  if (row.mode === "strided" && width === 4) {
    return gatherLanes(f, row.dtype, i32.add(address, i32.mul(row.stride, skip)), row.stride);
  }
  return loadLanes(f, row.dtype, address, { width, byteOffset: skip << byteShift(row.dtype) });
}
