import {
  assemble,
  type CpuFeatures,
  type FunctionBuilder,
  f32,
  f32x4,
  f64,
  i32,
  i32x4,
  type KernelStep,
  type Local,
  v128,
  type WasmKernelFactory,
} from "@heddle/tensor/kernel";
import type { RotaryParams } from "../rotary-params.js";
import { emitSinCos } from "./sin-cos.js";

/** Sizes of one rotary call. A row is one head of one token; the table has a row per position. */
interface RotaryLayout {
  readonly numHeads: number;
  readonly seqLen: number;
  readonly headDim: number;
  readonly pairs: number;
  readonly rows: number;
  /** Rows of the table: B * T where every batch row has its own positions, else T. */
  readonly tableRows: number;
  readonly hasPositions: boolean;
}

/**
 * WebAssembly kernel of `rotary` for f32: a table of cos and sin, one row per position, then the rotation of every head.
 *
 * Positions are read from memory at each run, frequencies are constants of the code. Twin: `rotaryReference`.
 */
export const rotaryWasm: WasmKernelFactory<RotaryParams> = (call, features) => {
  const [x, positions] = call.inputs;
  if (x?.dtype !== "f32" || (positions !== undefined && positions.dtype !== "i32")) return undefined;
  const [batch = 1, numHeads = 1, seqLen = 1, headDim = 1] = x.shape;
  const pairs = call.params.inverseFrequencies.length;
  const layout: RotaryLayout = {
    numHeads,
    seqLen,
    headDim,
    pairs,
    rows: batch * numHeads * seqLen,
    tableRows: positions?.shape.length === 2 ? batch * seqLen : seqLen,
    hasPositions: positions !== undefined,
  };
  return {
    steps: [tableStep(layout, call.params, features), rotateStep(layout, call.params, features)],
    scratchBytes: layout.tableRows * pairs * 8,
  };
};

/** Fills the table: row r holds the cos, then the sin, of every pair at position r. */
function tableStep(layout: RotaryLayout, params: RotaryParams, features: CpuFeatures): KernelStep {
  const { inverseFrequencies, attentionScale, isInverse } = params;
  const { pairs, hasPositions, tableRows } = layout;
  const key = `rotary-table ${inverseFrequencies} scale ${attentionScale} inverse ${isInverse} positions ${hasPositions} shared ${features.sharedMemory}`;
  const emit = () =>
    assemble({ sharedMemory: features.sharedMemory }, (f) => {
      const positions = hasPositions ? f.param("i32") : undefined;
      const [table, begin, end] = [f.param("i32"), f.param("i32"), f.param("i32")];
      f.for(begin, end, 1, (row) => {
        const index = positions === undefined ? row : i32.load(i32.add(positions, i32.shl(row, 2)));
        const position = f.let(f64.convertI32S(index));
        const target = f.let(i32.add(table, i32.mul(row, pairs * 8)));
        for (let i = 0; i < pairs; i += 2) {
          const frequencies = [inverseFrequencies[i] ?? 0, inverseFrequencies[i + 1] ?? 0] as const;
          const { cos, sin } = emitSinCos(f, position, { frequencies, scale: attentionScale });
          const bits = i + 1 < pairs ? 64 : 32;
          f.storeLane(bits, target, cos, { lane: 0, byteOffset: i * 4 });
          f.storeLane(bits, target, isInverse ? f32x4.neg(sin) : sin, {
            lane: 0,
            byteOffset: (pairs + i) * 4,
          });
        }
      });
    });
  const inputs = hasPositions ? [{ kind: "buffer", index: 1 } as const] : [];
  return {
    module: { key, emit },
    args: [...inputs, { kind: "scratch", byteOffset: 0 }],
    units: tableRows,
    grain: 64,
  };
}

function rotateStep(layout: RotaryLayout, params: RotaryParams, features: CpuFeatures): KernelStep {
  const { numHeads, seqLen, headDim, pairs, rows, tableRows, hasPositions } = layout;
  const ownPositions = tableRows > seqLen;
  const key = `rotary-rotate heads ${numHeads} length ${seqLen} dim ${headDim} pairs ${pairs} ${params.layout} own ${ownPositions} shared ${features.sharedMemory}`;
  const emit = () =>
    assemble({ sharedMemory: features.sharedMemory }, (f) => {
      const [x, out, table, begin, end] = Array.from({ length: 5 }, () => f.param("i32")) as LocalRow;
      f.for(begin, end, 1, (row) => {
        const head = f.let(i32.divU(row, seqLen));
        const token = f.let(i32.sub(row, i32.mul(head, seqLen)));
        if (ownPositions) f.increase(token, i32.mul(i32.divU(head, numHeads), seqLen));
        const addresses = {
          source: f.let(i32.add(x, i32.mul(row, headDim * 4))),
          target: f.let(i32.add(out, i32.mul(row, headDim * 4))),
          cos: f.let(i32.add(table, i32.mul(token, pairs * 8))),
        };
        if (params.layout === "half") emitHalfSplit(f, pairs, addresses);
        else emitInterleaved(f, pairs, addresses);
        emitCopyRest(f, { from: 2 * pairs, to: headDim }, addresses);
      });
    });
  const outputIndex = hasPositions ? 2 : 1;
  return {
    module: { key, emit },
    args: [
      { kind: "buffer", index: 0 },
      { kind: "buffer", index: outputIndex },
      { kind: "scratch", byteOffset: 0 },
    ],
    units: rows,
    grain: Math.max(1, Math.ceil(16_384 / headDim)),
  };
}

type Address = Local<"i32">;
type LocalRow = [Address, Address, Address, Address, Address];
interface RowAddresses {
  readonly source: Address;
  readonly target: Address;
  /** cos of every pair, then sin of every pair. */
  readonly cos: Address;
}

/** Pairs (i, i + pairs). */
function emitHalfSplit(f: FunctionBuilder, pairs: number, { source, target, cos }: RowAddresses): void {
  let i = 0;
  for (; i + 4 <= pairs; i += 4) {
    const first = f.let(v128.load(source, i * 4));
    const second = f.let(v128.load(source, (pairs + i) * 4));
    const c = f.let(v128.load(cos, i * 4));
    const s = f.let(v128.load(cos, (pairs + i) * 4));
    f.store("v128", target, f32x4.sub(f32x4.mul(first, c), f32x4.mul(second, s)), i * 4);
    f.store("v128", target, f32x4.add(f32x4.mul(second, c), f32x4.mul(first, s)), (pairs + i) * 4);
  }
  for (; i < pairs; i++)
    emitPair(f, { first: i, second: pairs + i, pair: i, pairs }, { source, target, cos });
}

/** Pairs (2i, 2i + 1). */
function emitInterleaved(f: FunctionBuilder, pairs: number, { source, target, cos }: RowAddresses): void {
  const alternate = v128.const(new Float32Array([-1, 1, -1, 1]));
  let i = 0;
  for (; i + 2 <= pairs; i += 2) {
    const both = f.let(v128.load(source, i * 8));
    const c = i32x4.shuffle(v128.load64Zero(cos, i * 4), 0, [0, 0, 1, 1]);
    const s = f32x4.mul(i32x4.shuffle(v128.load64Zero(cos, (pairs + i) * 4), 0, [0, 0, 1, 1]), alternate);
    const swapped = i32x4.shuffle(both, both, [1, 0, 3, 2]);
    f.store("v128", target, f32x4.add(f32x4.mul(both, c), f32x4.mul(swapped, s)), i * 8);
  }
  for (; i < pairs; i++)
    emitPair(f, { first: 2 * i, second: 2 * i + 1, pair: i, pairs }, { source, target, cos });
}

/** One pair, in scalars. */
function emitPair(
  f: FunctionBuilder,
  { first, second, pair, pairs }: { first: number; second: number; pair: number; pairs: number },
  { source, target, cos }: RowAddresses,
): void {
  const a = f.let(f32.load(source, first * 4));
  const b = f.let(f32.load(source, second * 4));
  const c = f.let(f32.load(cos, pair * 4));
  const s = f.let(f32.load(cos, (pairs + pair) * 4));
  f.store("f32", target, f32.sub(f32.mul(a, c), f32.mul(b, s)), first * 4);
  f.store("f32", target, f32.add(f32.mul(b, c), f32.mul(a, s)), second * 4);
}

/** Features that do not turn. */
function emitCopyRest(
  f: FunctionBuilder,
  { from, to }: { from: number; to: number },
  { source, target }: RowAddresses,
): void {
  let i = from;
  for (; i + 4 <= to; i += 4) f.store("v128", target, v128.load(source, i * 4), i * 4);
  for (; i < to; i++) f.store("f32", target, f32.load(source, i * 4), i * 4);
}
