import {
  type CpuFeatures,
  type FunctionBuilder,
  i16x8,
  i32x4,
  type Local,
  type Value,
  v128,
} from "@heddle/tensor/kernel";
import type { QuantFormat } from "../quant-format.js";
import { addQuads, dotPairs, widenPairs } from "./int8-dot.js";
import { record } from "./quantize-activations.js";

/** Masks of a 32-bit lane. Plain numbers: the engine joins vectors in pairs only around constants, not splats of one. */
const LOW_HALVES = 0x0f0f_0f0f;
const UPPER_PAIRS = 0x3030_3030;

/** Vectors of four outputs that a panel has. */
export const PANEL_VECTORS = 4;

/** One block of some panels against the same block of some rows of activations. */
export interface DotJob {
  readonly f: FunctionBuilder;
  readonly features: Pick<CpuFeatures, "relaxedSimd" | "int8Dot">;
  readonly format: QuantFormat;
  /** Address of the block's codes in each panel. */
  readonly codes: readonly Local<"i32">[];
  /** Address of each row's record. */
  readonly rows: readonly Local<"i32">[];
}

/** What to multiply of a block, and what each row's sums begin with. */
export interface DotPart {
  /** Inputs 0..15, 16..31 or all. */
  readonly half: 0 | 1 | "both";
  /** 4 x i32, emitted where a row's sums begin; absent for 0. */
  readonly start?: ((row: Local<"i32">) => Value<"v128">) | undefined;
}

type Vectors = Local<"v128">[];
/** `sums[row][vector]`: 4 x i32; those of the second panel follow those of the first. */
export type DotSums = readonly (readonly Local<"v128">[])[];
type DotSumsInWork = Local<"v128">[][];

/** Whole-number products of codes and activations over a block, or over one half of it. */
export function blockDots(job: DotJob, part: DotPart): DotSums {
  const { codeBits } = job.format;
  if (codeBits === 8) return byteDots(job, part);
  return codeBits === 4 ? fourBitDots(job, part) : sixBitDots(job, part);
}

/** Every vector of four outputs: the address of its panel's codes, and how far its 16 bytes lie from the panel's. */
function vectorsOf({
  codes,
}: DotJob): readonly { readonly address: Local<"i32">; readonly byteOffset: number }[] {
  return codes.flatMap((address) =>
    Array.from({ length: PANEL_VECTORS }, (_, v) => ({ address, byteOffset: 16 * v })),
  );
}

/** Adds up lazily: the first addition names the sum, so that nothing is cleared. */
class Sums {
  readonly #f: FunctionBuilder;
  readonly #features: DotJob["features"];
  readonly #rows: DotJob["rows"];
  readonly #start: DotPart["start"];
  readonly #starts: (Local<"v128"> | undefined)[] = [];
  readonly #sums: DotSumsInWork;
  /** Sums of pairs in 16 bits, where dot products do not add in one instruction. */
  readonly #pairs: DotSumsInWork;

  constructor({ f, features, rows }: DotJob, { start }: DotPart) {
    this.#f = f;
    this.#features = features;
    this.#rows = rows;
    this.#start = start;
    this.#sums = rows.map(() => []);
    this.#pairs = rows.map(() => []);
  }

  /** Adds 4 x i32. */
  add(row: number, vector: number, term: Value<"v128">): void {
    const before = this.#sums[row]?.[vector] ?? this.#startOf(row);
    this.#name(this.#sums, [row, vector], before === undefined ? term : i32x4.add(before, term));
  }

  /** Adds the dot products of quads of activations and unsigned codes, in 16 bits at first where that is quicker. */
  addDots(row: number, vector: number, operands: readonly [quad: Local<"v128">, codes: Local<"v128">]): void {
    if (this.#features.int8Dot) {
      const before = this.#sums[row]?.[vector] ?? this.#startOf(row) ?? 0;
      this.#name(this.#sums, [row, vector], addQuads(operands, before));
      return;
    }
    const pairs = dotPairs(this.#f, this.#features.relaxedSimd, operands);
    const before = this.#pairs[row]?.[vector];
    this.#name(this.#pairs, [row, vector], before === undefined ? pairs : i16x8.add(before, pairs));
  }

  /** Widens what was added in 16 bits. Due before they could overflow. */
  widen(): void {
    for (const [row, line] of this.#pairs.entries())
      for (const [vector, pairs] of line.splice(0).entries()) this.add(row, vector, widenPairs(pairs));
  }

  done(): DotSums {
    return this.#sums;
  }

  #startOf(index: number): Local<"v128"> | undefined {
    const row = this.#rows[index];
    if (this.#start === undefined || row === undefined) return undefined;
    const start = this.#starts[index] ?? this.#f.let(this.#start(row));
    this.#starts[index] = start;
    return start;
  }

  #name(sums: DotSumsInWork, [row, vector]: readonly [number, number], value: Value<"v128">): void {
    const line = sums[row];
    if (line !== undefined) line[vector] = this.#f.let(value);
  }
}

function quadOf({ f, rows }: DotJob, row: number, quad: number): Local<"v128"> {
  return f.let(v128.load32Splat(rows[row] ?? 0, record.codes + 4 * quad));
}

/** Adds the products of four inputs with all rows of activations. */
function addQuad(
  sums: Sums,
  job: DotJob,
  { quad, codes }: { readonly quad: number; readonly codes: Vectors },
): void {
  for (const row of job.rows.keys()) {
    const activations = quadOf(job, row, quad);
    for (const [v, own] of codes.entries()) sums.addDots(row, v, [activations, own]);
  }
}

/** Sums of 4-bit codes stay below 2^15 over a whole block: 8 x 2 x 15 x 127. */
function fourBitDots(job: DotJob, part: DotPart): DotSums {
  const { f } = job;
  const sums = new Sums(job, part);
  for (let j = 0; j < 4; j++) {
    const raw = vectorsOf(job).map(({ address, byteOffset }) =>
      f.let(v128.load(address, 64 * j + byteOffset)),
    );
    const parts: { quad: number; codes: Vectors }[] = [];
    if (part.half !== 1) parts.push({ quad: j, codes: raw.map((x) => f.let(v128.and(x, LOW_HALVES))) });
    if (part.half !== 0)
      parts.push({
        quad: j + 4,
        codes: raw.map((x) => f.let(v128.and(i16x8.shrU(x, 4), LOW_HALVES))),
      });
    for (const { quad, codes } of parts) addQuad(sums, job, { quad, codes });
  }
  sums.widen();
  return sums.done();
}

/** Sums of 6-bit codes stay below 2^15 over two quads: 2 x 2 x 63 x 127. */
function sixBitDots(job: DotJob, part: DotPart): DotSums {
  const { f } = job;
  const vectors = vectorsOf(job);
  const sums = new Sums(job, part);
  for (let parity = 0; parity < 2; parity++) {
    const high = vectors.map(({ address, byteOffset }) =>
      f.let(v128.load(address, 256 + 64 * parity + byteOffset)),
    );
    for (const half of part.half === "both" ? [0, 1] : [part.half]) {
      for (const quad of [4 * half + parity, 4 * half + parity + 2]) {
        const codes = vectors.map(({ address, byteOffset }, v) => {
          const raw = v128.load(address, 64 * (quad & 3) + byteOffset);
          const low = v128.and(half === 0 ? raw : i16x8.shrU(raw, 4), LOW_HALVES);
          const shift = 2 * (quad >> 1) - 4;
          const bits = high[v] ?? raw;
          const moved = shift < 0 ? i16x8.shl(bits, -shift) : shift > 0 ? i16x8.shrU(bits, shift) : bits;
          return f.let(v128.or(low, v128.and(moved, UPPER_PAIRS)));
        });
        addQuad(sums, job, { quad, codes });
      }
      sums.widen();
    }
  }
  return sums.done();
}

/** Codes of 8 bits are signed, which the relaxed instructions do not take: they are widened and multiplied as 16 bits. */
function byteDots(job: DotJob, part: DotPart): DotSums {
  const { f, rows } = job;
  const sums = new Sums(job, part);
  const from = part.half === 1 ? 8 : 0;
  for (let pair = from; pair < (part.half === 0 ? 8 : 16); pair++) {
    const wide = vectorsOf(job).map(({ address, byteOffset }) =>
      f.let(v128.load8x8S(address, 32 * pair + byteOffset / 2)),
    );
    for (const row of rows.keys()) {
      const activations = quadOf(job, row, pair);
      for (const [v, own] of wide.entries()) sums.add(row, v, i32x4.dotI16x8S(activations, own));
    }
  }
  return sums.done();
}
