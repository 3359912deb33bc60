import type { FunctionBuilder } from "../../wasm/assembler.js";
import { i32 } from "../../wasm/scalar.js";
import type { Value } from "../../wasm/value.js";
import type { CpuFeatures } from "../kernel.js";

/** Copies move bits: only the width of an element matters. */
export type ElementBytes = 1 | 2 | 4;

/** What all regions of one output share. */
export interface RegionContext {
  readonly output: number;
  readonly width: ElementBytes;
  readonly features: CpuFeatures;
}

/** Copies one element. */
export function copyElement(
  f: FunctionBuilder,
  width: ElementBytes,
  target: Value<"i32">,
  source: Value<"i32">,
): void {
  f.store(width === 4 ? "i32" : width === 2 ? "i16" : "i8", target, loadElement(width, source));
}

/** One element's bits, zero-extended. */
export function loadElement(width: ElementBytes, address: Value<"i32">): Value<"i32"> {
  return width === 4 ? i32.load(address) : width === 2 ? i32.load16U(address) : i32.load8U(address);
}
