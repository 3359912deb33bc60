import { assemble, type FunctionBuilder } from "../../wasm/assembler.js";
import { i32 } from "../../wasm/scalar.js";
import { i32x4 } from "../../wasm/simd.js";
import { transposeFour } from "../../wasm/transpose.js";
import type { Local } from "../../wasm/value.js";
import type { KernelModule } from "../kernel.js";
import { elementBytes, loadFour, loadOne, type MatrixDType } from "./gemm-load.js";

/** Packed depths are multiples of this: the inner loop of the product is unrolled so far. */
export const DEPTH_UNROLL = 4;

export interface PackFormat {
  /** Lines (rows of A or columns of B) that one panel interleaves: even. */
  readonly width: number;
  readonly dtype: MatrixDType;
  /** Whether the elements of one line lie side by side in memory (rows of A [M, K], columns of B [N, K]). */
  readonly isLineContiguous: boolean;
  readonly sharedMemory: boolean;
}

type Address = Local<"i32">;

/** The panel that is being packed: addresses in bytes, extents in elements. */
interface Panel {
  readonly f: FunctionBuilder;
  readonly format: PackFormat;
  readonly source: Address;
  readonly target: Address;
  /** Lines that exist from `source` on; the panel takes at most its width of them. */
  readonly used: Address;
  readonly depth: Address;
  readonly paddedDepth: Address;
  readonly lineBytes: Address;
  readonly depthBytes: Address;
}

/**
 * Module that rearranges a matrix into panels of `width` lines, converting to f32:
 * panel[k * width + line] = matrix(line, k). Lines past the end and depths past the end are zero.
 *
 * `run(source, target, lines, depth, paddedDepth, stride, matrixElements, panels, firstLine, begin, end)`: unit u packs
 * panel u % panels of matrix floor(u / panels). `stride` is the row stride of the stored matrix in elements.
 */
export function packModule(format: PackFormat): KernelModule {
  const { width, dtype, isLineContiguous, sharedMemory } = format;
  return {
    key: `gemm-pack:${width}:${dtype}:${isLineContiguous ? "lines" : "depths"}:${sharedMemory ? "shared" : "own"}`,
    emit: () => assemble({ sharedMemory }, (f) => emitPack(f, format)),
  };
}

function emitPack(f: FunctionBuilder, format: PackFormat): void {
  const next = () => f.param("i32");
  const [source, target, lines, depth, paddedDepth, stride] = [
    next(),
    next(),
    next(),
    next(),
    next(),
    next(),
  ];
  const [matrixElements, panels, firstLine, begin, end] = [next(), next(), next(), next(), next()];
  const { width } = format;
  const steps = lineSteps(f, format, stride);
  f.for(begin, end, 1, (unit) => {
    const line = f.let(i32.mul(i32.remU(unit, panels), width));
    const matrix = i32.mul(i32.mul(i32.divU(unit, panels), matrixElements), elementBytes(format.dtype));
    const lineOffset = i32.mul(i32.add(firstLine, line), steps.lineBytes);
    packPanel(f, format, {
      ...steps,
      source: f.let(i32.add(source, i32.add(matrix, lineOffset))),
      target: f.let(i32.add(target, i32.mul(i32.mul(unit, paddedDepth), width * 4))),
      used: f.let(i32.sub(lines, line)),
      depth,
      paddedDepth,
    });
  });
}

/** Bytes from one line to the next, and from one depth to the next; one of them is the element's width. */
export function lineSteps(f: FunctionBuilder, { dtype, isLineContiguous }: PackFormat, stride: Address) {
  const element = f.let(i32.const(elementBytes(dtype)));
  const row = f.let(i32.mul(stride, element));
  return isLineContiguous ? { lineBytes: row, depthBytes: element } : { lineBytes: element, depthBytes: row };
}

/**
 * Packs one panel: lines 0..min(width, used)-1 and depths 0..depth-1 from `source`, zeros up to the panel's width and
 * `paddedDepth`.
 */
export function packPanel(f: FunctionBuilder, format: PackFormat, panel: Omit<Panel, "f" | "format">): void {
  const job: Panel = { f, format, ...panel };
  const k = f.let(i32.const(0));
  f.if(i32.geS(panel.used, format.width), () =>
    format.isLineContiguous ? packLines(job, k) : packDepths(job, k),
  );
  packSlowly(job, k);
}

/** Full panel, lines contiguous: transposes blocks of 4 lines by 4 depths; stops before the last depth % 4. */
function packLines({ f, format, source, target, depth, lineBytes }: Panel, k: Address): void {
  const { width, dtype } = format;
  const bytes = elementBytes(dtype);
  const from = f.let(i32.add(source, 0));
  const to = f.let(i32.add(target, 0));
  const line = f.local("i32");
  const limit = f.let(i32.and(depth, -4));
  f.advance(k, limit, 4, () => {
    f.set(line, from);
    for (let first = 0; first < width; first += 4) {
      const rows = Array.from({ length: Math.min(4, width - first) }, () => {
        const row = loadFour(f, dtype, line);
        f.increase(line, lineBytes);
        return row;
      });
      storeTransposed(f, rows, { to, width, first });
    }
    f.increase(from, 4 * bytes);
    f.increase(to, 4 * width * 4);
  });
}

/** Writes 4 (or 2) rows of 4 depths as 4 depths of 4 (or 2) lines. */
function storeTransposed(
  f: FunctionBuilder,
  rows: readonly Local<"v128">[],
  { to, width, first }: { readonly to: Address; readonly width: number; readonly first: number },
): void {
  const [r0, r1, r2, r3] = rows;
  if (r0 === undefined || r1 === undefined) throw new Error("Heddle bug: panels have an even width.");
  const at = (k: number) => (k * width + first) * 4;
  if (r2 === undefined || r3 === undefined) {
    const low01 = f.let(i32x4.shuffle(r0, r1, [0, 4, 1, 5]));
    const high01 = f.let(i32x4.shuffle(r0, r1, [2, 6, 3, 7]));
    f.storeLane(64, to, low01, { lane: 0, byteOffset: at(0) });
    f.storeLane(64, to, low01, { lane: 1, byteOffset: at(1) });
    f.storeLane(64, to, high01, { lane: 0, byteOffset: at(2) });
    f.storeLane(64, to, high01, { lane: 1, byteOffset: at(3) });
    return;
  }
  for (const [k, line] of transposeFour(f, [r0, r1, r2, r3]).entries()) f.store("v128", to, line, at(k));
}

/** Full panel, depths contiguous: copies `width` neighbours for every depth. */
function packDepths({ f, format, source, target, depth, depthBytes }: Panel, k: Address): void {
  const { width, dtype } = format;
  const bytes = elementBytes(dtype);
  const from = f.let(i32.add(source, 0));
  const to = f.let(i32.add(target, 0));
  f.advance(k, depth, 1, () => {
    for (let first = 0; first < width; first += 4) {
      if (width - first >= 4) f.store("v128", to, loadFour(f, dtype, from, first * bytes), first * 4);
      else for (let i = first; i < width; i++) f.store("f32", to, loadOne(f, dtype, from, i * bytes), i * 4);
    }
    f.increase(from, depthBytes);
    f.increase(to, width * 4);
  });
}

/** The rest, element by element: the last depths of a full panel, or a whole panel with lines missing. */
function packSlowly(job: Panel, k: Address): void {
  const { f, format, source, target, used, depth, paddedDepth, lineBytes, depthBytes } = job;
  const { width, dtype } = format;
  const to = f.let(i32.add(target, i32.mul(k, width * 4)));
  const from = f.local("i32");
  f.advance(k, paddedDepth, 1, () => {
    f.set(from, i32.add(source, i32.mul(k, depthBytes)));
    f.for(0, width, 1, (line) => {
      f.if(
        i32.and(i32.ltS(line, used), i32.ltS(k, depth)),
        () => f.store("f32", to, loadOne(f, dtype, from)),
        () => f.store("f32", to, 0),
      );
      f.increase(from, lineBytes);
      f.increase(to, 4);
    });
  });
}
