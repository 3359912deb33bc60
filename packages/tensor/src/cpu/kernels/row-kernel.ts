import type { FunctionBuilder } from "../../wasm/assembler.js";
import { f64, i32 } from "../../wasm/scalar.js";
import { type LaneMath, laneMath } from "../../wasm/simd-math.js";
import type { Local, Value } from "../../wasm/value.js";
import type { CpuFeatures, KernelArgument, KernelStep } from "../kernel.js";
import { argument, kernelStep } from "./kernel-step.js";
import { byteShift, elementAddress, type LaneDType, type LaneWidth, loadLanes, storeLanes } from "./lanes.js";
import type { Position, RowLoop } from "./row.js";

/** `rows` vectors of `columns` floats of one dtype, contiguous. */
export interface RowShape {
  readonly rows: number;
  readonly columns: number;
  readonly dtype: LaneDType;
}

/** A buffer of a row kernel: one row per unit, one row that all units share, or one number per unit. */
export interface RowBuffer {
  readonly layout: "rows" | "shared" | "scalars";
  readonly dtype: LaneDType;
}

/** The arrays of one row: `load(k, at)` reads buffer k at a position, `store(k, at, value)` writes it. */
export interface RowAccess {
  readonly math: LaneMath;
  readonly loop: RowLoop;
  /** The row's length as f64. */
  readonly length: Local<"f64">;
  load(buffer: number, at: Position): Local<"v128">;
  store(buffer: number, at: Position, value: Value<"v128">): void;
  /** One element, in every lane. */
  loadElement(buffer: number, index: Value<"i32">): Local<"v128">;
  /** The row's number in a buffer of scalars, in every lane. */
  loadScalar(buffer: number): Local<"v128">;
  /** Writes lane 0 as the row's number. */
  storeScalar(buffer: number, value: Value<"v128">): void;
}

export interface RowKernelSpec {
  readonly name: string;
  readonly rows: number;
  readonly columns: number;
  readonly buffers: readonly RowBuffer[];
  /** More arguments; their parameters are handed to the body. */
  readonly extra?: readonly KernelArgument[];
  readonly features: CpuFeatures;
}

/** A parallel loop whose unit is one row. Buffers are those of the launch, in order. */
export function rowStep(
  spec: RowKernelSpec,
  body: (f: FunctionBuilder, row: RowAccess, extra: readonly Local[]) => void,
): KernelStep {
  const { name, rows, columns, buffers, extra = [], features } = spec;
  return kernelStep(
    {
      key: `${name}/${bufferKey(buffers)}`,
      features,
      args: [...buffers.map((_, k) => argument.buffer(k)), argument.i32(columns), ...extra],
      units: rows,
      grain: 8192 / (columns + 8),
    },
    (f, parameters, { begin, end }) => {
      const pointers = parameters.slice(0, buffers.length) as Local<"i32">[];
      const count = (parameters[buffers.length] ?? begin) as Local<"i32">;
      const loop = { count, isPaired: features.revectorized };
      const math = laneMath(f, features);
      f.for(begin, end, 1, (row) => {
        body(
          f,
          openRowAccess(f, { buffers, pointers, loop, row, math }),
          parameters.slice(buffers.length + 1),
        );
      });
    },
  );
}

export function bufferKey(buffers: readonly RowBuffer[]): string {
  return buffers.map(({ layout, dtype }) => `${layout}:${dtype}`).join(",");
}

/** Prepares the addresses of one row. */
export function openRowAccess(
  f: FunctionBuilder,
  at: {
    readonly buffers: readonly RowBuffer[];
    readonly pointers: readonly Local<"i32">[];
    readonly loop: RowLoop;
    readonly row: Local<"i32">;
    readonly math: LaneMath;
  },
): RowAccess {
  const { buffers, loop, row, math } = at;
  const first = f.let(i32.mul(row, loop.count));
  const lines = buffers.map(({ layout, dtype }, k) => {
    const base = at.pointers[k] ?? row;
    const start = layout === "shared" ? base : elementAddress(base, layout === "rows" ? first : row, dtype);
    return { dtype, pointer: f.let(start) };
  });
  const line = (k: number) => lines[k] ?? { dtype: "f32" as const, pointer: row };
  const addressAt = (k: number, position: Position) =>
    positionAddress(position, line(k).pointer, line(k).dtype);
  return {
    math,
    loop,
    length: f.let(f64.convertI32S(loop.count)),
    load: (k, position) =>
      loadLanes(f, line(k).dtype, addressAt(k, position), laneRange(position, line(k).dtype)),
    store(k, position, value) {
      const { dtype } = line(k);
      storeLanes(f, dtype, addressAt(k, position), { value, ...laneRange(position, dtype) });
    },
    loadElement(k, index) {
      const { dtype, pointer } = line(k);
      return loadLanes(f, dtype, elementAddress(pointer, index, dtype), { width: 1 });
    },
    loadScalar: (k) => loadLanes(f, line(k).dtype, line(k).pointer, { width: 1 }),
    storeScalar: (k, value) => storeLanes(f, line(k).dtype, line(k).pointer, { value, width: 1 }),
  };
}

/** Address of element i of a line, named once for the vectors side by side. */
export function positionAddress(at: Position, line: Local<"i32">, dtype: LaneDType): Local<"i32"> {
  return at.once(`${line.index}:${dtype}`, () => elementAddress(line, at.i, dtype));
}

/** Which elements from that address on a position means. */
export function laneRange(
  { width, skip }: Position,
  dtype: LaneDType,
): { width: LaneWidth; byteOffset: number } {
  return { width, byteOffset: skip << byteShift(dtype) };
}
