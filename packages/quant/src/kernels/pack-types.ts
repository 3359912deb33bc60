import { f32, i8x16, i32, type Local, type Value, v128 } from "@heddle/tensor/kernel";
import { type PackJob, storeBytePairs, storeNibbles, storeUpperBits } from "./pack-codes.js";
import { HALF_MASK } from "./unpack-rows.wasm.js";

/** How the blocks of a GGUF type become codes and scales of a panel; the formulas are those of ggml/. */
export interface BlockWriter {
  /** Bytes of codes and number of groups that sixteen blocks, one a row, become. */
  readonly codeBytes: number;
  readonly groups: number;
  write(job: PackJob): void;
}

const rows = Array.from({ length: 16 }, (_, row) => row);
type Vector = Value<"v128">;

/** Address of row `row` of the block, plus a constant. */
function rowAt({ f, source, rowBytes }: PackJob, row: number): Local<"i32"> {
  return f.let(i32.add(source, i32.mul(rowBytes, row)));
}

const lowHalf = (x: Vector) => v128.and(x, i8x16.splat(15));
const highHalf = (x: Vector) => i8x16.shrU(x, 4);

/** The low halves of 32 bytes, given as two vectors: element i beside i + 16. */
const lowHalves = (a: Vector, b: Vector) => v128.or(lowHalf(a), i8x16.shl(b, 4));
const highHalves = (a: Vector, b: Vector) => v128.or(highHalf(a), v128.and(b, i8x16.splat(0xf0)));

const q4_0: BlockWriter = {
  codeBytes: 256,
  groups: 1,
  write(job) {
    storeNibbles(job, 0, (row) => v128.load(rowAt(job, row), 2));
    for (const row of rows) copyHalf(job, job.targets.scales, { row, from: 0 });
  },
};

const q4_1: BlockWriter = {
  codeBytes: 256,
  groups: 1,
  write(job) {
    storeNibbles(job, 0, (row) => v128.load(rowAt(job, row), 4));
    for (const row of rows) {
      copyHalf(job, job.targets.scales, { row, from: 0 });
      copyHalf(job, job.targets.mins, { row, from: 2 });
    }
  },
};

const q8_0: BlockWriter = {
  codeBytes: 512,
  groups: 1,
  write(job) {
    storeBytePairs(job, (row, half) => v128.load(rowAt(job, row), 2 + 16 * half));
    for (const row of rows) copyHalf(job, job.targets.scales, { row, from: 0 });
  },
};

const q4K: BlockWriter = {
  codeBytes: 8 * 256,
  groups: 8,
  write(job) {
    const { f, targets } = job;
    for (let sub = 0; sub < 8; sub++) {
      const chunk = 16 + 32 * (sub >> 1);
      const halves = sub % 2 === 0 ? lowHalves : highHalves;
      storeNibbles(job, 256 * sub, (row) => {
        const at = rowAt(job, row);
        return halves(f.let(v128.load(at, chunk)), f.let(v128.load(at, chunk + 16)));
      });
    }
    for (const row of rows) {
      const at = rowAt(job, row);
      const [low, mid, high] = [4, 8, 12].map((byte) => f.let(i32.load(at, byte)));
      if (low === undefined || mid === undefined || high === undefined) continue;
      const six = (x: Local<"i32">) => i32.and(x, 0x3f3f3f3f);
      const upper = (x: Local<"i32">) => i32.and(i32.shrU(x, 2), 0x30303030);
      const nibbles = (x: Value<"i32">) => i32.and(x, 0x0f0f0f0f);
      storeSpread(job, targets.scales, { row, group: 0, bytes: six(low) });
      storeSpread(job, targets.scales, { row, group: 4, bytes: i32.or(nibbles(high), upper(low)) });
      storeSpread(job, targets.mins, { row, group: 0, bytes: six(mid) });
      storeSpread(job, targets.mins, {
        row,
        group: 4,
        bytes: i32.or(nibbles(i32.shrU(high, 4)), upper(mid)),
      });
      storeSuper(job, targets.superScales, { row, value: widenHalf(job, at, 0) });
      storeSuper(job, targets.superMins, { row, value: f32.neg(widenHalf(job, at, 2)) });
    }
  },
};

const q6K: BlockWriter = {
  codeBytes: 8 * 384,
  groups: 16,
  write(job) {
    const { f, targets } = job;
    for (let sub = 0; sub < 8; sub++) {
      const [part, quarter] = [sub >> 2, sub & 3];
      const low = 64 * part + 32 * (quarter & 1);
      const halves = quarter < 2 ? lowHalves : highHalves;
      storeNibbles(job, 384 * sub, (row) => {
        const at = rowAt(job, row);
        return halves(f.let(v128.load(at, low)), f.let(v128.load(at, low + 16)));
      });
      storeUpperBits(job, 384 * sub + 256, (row) => {
        const at = rowAt(job, row);
        const two = (byte: number) =>
          v128.and(i8x16.shrU(v128.load(at, 128 + 32 * part + byte), 2 * quarter), i8x16.splat(3));
        return v128.or(two(0), i8x16.shl(two(16), 4));
      });
    }
    for (const row of rows) {
      const at = rowAt(job, row);
      for (let group = 0; group < 16; group += 4) {
        storeSpread(job, targets.scales, { row, group, bytes: i32.load(at, 192 + group) });
      }
      storeSuper(job, targets.superScales, { row, value: widenHalf(job, at, 208) });
    }
  },
};

/** The kernels by type; the others are packed by the twin. */
export const writers: Readonly<Record<string, BlockWriter>> = {
  Q4_0: q4_0,
  Q4_1: q4_1,
  Q8_0: q8_0,
  Q4_K: q4K,
  Q6_K: q6K,
};

type Target = Local<"i32"> | undefined;

/** Copies a half float of a row to its entry of the only group. */
function copyHalf(
  job: PackJob,
  target: Target,
  { row, from }: { readonly row: number; readonly from: number },
): void {
  if (target !== undefined) job.f.store("i16", target, i32.load16U(rowAt(job, row), from), 2 * row);
}

/** Writes four neighbouring bytes to a row's entries of four groups. */
function storeSpread(
  { f }: PackJob,
  target: Target,
  { row, group, bytes }: { readonly row: number; readonly group: number; readonly bytes: Value<"i32"> },
): void {
  if (target === undefined) return;
  const four = f.let(bytes);
  for (let i = 0; i < 4; i++) f.store("i8", target, i32.shrU(four, 8 * i), 16 * (group + i) + row);
}

function storeSuper(
  { f }: PackJob,
  target: Target,
  { row, value }: { readonly row: number; readonly value: Value<"f32"> },
): void {
  if (target !== undefined) f.store("f32", target, value, 4 * row);
}

/** A half float as f32, exact but for NaN and infinity. */
function widenHalf({ f }: PackJob, at: Local<"i32">, byte: number): Value<"f32"> {
  const bits = f.let(i32.load16S(at, byte));
  return f32.mul(f32.reinterpretI32(i32.and(i32.shl(bits, 13), HALF_MASK)), 2 ** 112);
}
