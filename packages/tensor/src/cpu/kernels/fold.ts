import type { Combine } from "../../op-forms.js";
import { f64 } from "../../wasm/scalar.js";
import { f32x4, i32x4 } from "../../wasm/simd.js";
import type { Value } from "../../wasm/value.js";
import { isFloatLane, type LaneDType } from "./lanes.js";
import type { Fold } from "./row.js";

/** What a reduction adds up in: f32 lanes with f64 totals, or 32-bit integers. */
export type FoldKind = "float" | "signed" | "unsigned";

export function foldKind(dtype: LaneDType): FoldKind {
  if (isFloatLane(dtype)) return "float";
  return dtype === "i32" || dtype === "i8" ? "signed" : "unsigned";
}

/** The vector form of a combination. */
export function laneFold(combine: Combine, kind: FoldKind): Fold {
  const lanes = kind === "float" ? f32x4 : i32x4;
  switch (combine) {
    case "sum":
      return { start: lanes.splat(0), join: lanes.add };
    case "prod":
      return { start: lanes.splat(1), join: lanes.mul };
    case "max":
    case "min":
      return { start: extremeStart(combine, kind), join: extreme(combine, kind) };
    default:
      return combine satisfies never;
  }
}

function extreme(combine: "max" | "min", kind: FoldKind): Fold["join"] {
  if (kind === "float") return f32x4[combine];
  return i32x4[`${combine}${kind === "signed" ? "S" : "U"}`];
}

function extremeStart(combine: "max" | "min", kind: FoldKind): Value<"v128"> {
  if (kind === "float")
    return f32x4.splat(combine === "max" ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY);
  const [least, most] = kind === "signed" ? [-(2 ** 31), 2 ** 31 - 1] : [0, -1];
  return i32x4.splat(combine === "max" ? least : most);
}

/** The scalar form in which partial results of float reductions are joined. */
export function joinTotals(combine: Combine): (a: Value<"f64">, b: Value<"f64">) => Value<"f64"> {
  return { sum: f64.add, prod: f64.mul, max: f64.max, min: f64.min }[combine];
}

/** The number at which `joinTotals` starts. */
export function startTotal(combine: Combine): number {
  return { sum: 0, prod: 1, max: Number.NEGATIVE_INFINITY, min: Number.POSITIVE_INFINITY }[combine];
}

/** Bytes of a partial result in scratch memory: f64, or i32. */
export function partialShift(kind: FoldKind): 2 | 3 {
  return kind === "float" ? 3 : 2;
}
