import { type FunctionBuilder, i16x8, i32x4, type Local, type Value, v128 } from "@heddle/tensor/kernel";
import type { QuantFormat } from "../quant-format.js";
import { dotPairs, widenPairs } from "./int8-dot.js";
import { record } from "./quantize-activations.js";

/** Masks of a 32-bit lane. Plain numbers: the engine joins vectors in pairs only around constants, not splats of one. */
const LOW_HALVES = 0x0f0f_0f0f;
const UPPER_PAIRS = 0x3030_3030;

/** Vectors of four outputs that a panel has. */
export const PANEL_VECTORS = 4;

/** One block of some panels against the same block of some rows of activations. */
export interface DotJob {
  readonly f: FunctionBuilder;
  readonly hasRelaxed: boolean;
  readonly format: QuantFormat;
  /** Address of the block's codes in each panel. */
  readonly codes: readonly Local<"i32">[];
  /** Address of each row's record. */
  readonly rows: readonly Local<"i32">[];
}

type Vectors = Local<"v128">[];
/** `sums[row][vector]`: 4 x i32; those of the second panel follow those of the first. */
export type DotSums = readonly (readonly Local<"v128">[])[];

/**
 * Whole-number products of codes and activations over a block, or over one half of it (inputs 0..15 or 16..31).
 *
 * Sums of 4-bit codes stay below 2^15 over a whole block (8 x 2 x 15 x 127), of 6-bit codes over two quads (2 x 2 x 63 x 127);
 * then they are widened.
 */
export function blockDots(job: DotJob, half: 0 | 1 | "both"): DotSums {
  const { codeBits } = job.format;
  if (codeBits === 8) return byteDots(job, half);
  return codeBits === 4 ? fourBitDots(job, half) : sixBitDots(job, half);
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
  readonly #sums: (Local<"v128"> | undefined)[][];

  constructor(f: FunctionBuilder, rows: number) {
    this.#f = f;
    this.#sums = Array.from({ length: rows }, () => []);
  }

  add(
    row: number,
    vector: number,
    term: Value<"v128">,
    plus: (a: Value<"v128">, b: Value<"v128">) => Value<"v128">,
  ) {
    const line = this.#sums[row];
    if (line === undefined) return;
    const before = line[vector];
    line[vector] = this.#f.let(before === undefined ? term : plus(before, term));
  }

  done(): DotSums {
    return this.#sums.map((line) => line.filter((sum): sum is Local<"v128"> => sum !== undefined));
  }
}

function quadOf({ f, rows }: DotJob, row: number, quad: number): Local<"v128"> {
  return f.let(v128.load32Splat(rows[row] ?? 0, record.codes + 4 * quad));
}

function fourBitDots(job: DotJob, half: 0 | 1 | "both"): DotSums {
  const { f, hasRelaxed, rows } = job;
  const sums = new Sums(f, rows.length);
  for (let j = 0; j < 4; j++) {
    const raw = vectorsOf(job).map(({ address, byteOffset }) =>
      f.let(v128.load(address, 64 * j + byteOffset)),
    );
    const parts: { quad: number; codes: Vectors }[] = [];
    if (half !== 1) parts.push({ quad: j, codes: raw.map((x) => f.let(v128.and(x, LOW_HALVES))) });
    if (half !== 0)
      parts.push({
        quad: j + 4,
        codes: raw.map((x) => f.let(v128.and(i16x8.shrU(x, 4), LOW_HALVES))),
      });
    for (const part of parts) {
      for (const row of rows.keys()) {
        const quad = quadOf(job, row, part.quad);
        for (const [v, own] of part.codes.entries())
          sums.add(row, v, dotPairs(f, hasRelaxed, [quad, own]), i16x8.add);
      }
    }
  }
  return sums.done().map((line) => line.map((sum) => f.let(widenPairs(sum))));
}

function sixBitDots(job: DotJob, half: 0 | 1 | "both"): DotSums {
  const { f, hasRelaxed, rows } = job;
  const vectors = vectorsOf(job);
  const sums = new Sums(f, rows.length);
  for (let parity = 0; parity < 2; parity++) {
    const high = vectors.map(({ address, byteOffset }) =>
      f.let(v128.load(address, 256 + 64 * parity + byteOffset)),
    );
    for (const part of half === "both" ? [0, 1] : [half]) {
      const pair = new Sums(f, rows.length);
      for (const quad of [4 * part + parity, 4 * part + parity + 2]) {
        const whole = vectors.map(({ address, byteOffset }, v) => {
          const raw = v128.load(address, 64 * (quad & 3) + byteOffset);
          const low = v128.and(part === 0 ? raw : i16x8.shrU(raw, 4), LOW_HALVES);
          const shift = 2 * (quad >> 1) - 4;
          const bits = high[v] ?? raw;
          const moved = shift < 0 ? i16x8.shl(bits, -shift) : shift > 0 ? i16x8.shrU(bits, shift) : bits;
          return f.let(v128.or(low, v128.and(moved, UPPER_PAIRS)));
        });
        for (const row of rows.keys()) {
          const activations = quadOf(job, row, quad);
          for (const [v, own] of whole.entries())
            pair.add(row, v, dotPairs(f, hasRelaxed, [activations, own]), i16x8.add);
        }
      }
      for (const [row, line] of pair.done().entries())
        for (const [v, sum] of line.entries()) sums.add(row, v, widenPairs(sum), i32x4.add);
    }
  }
  return sums.done();
}

/** Codes of 8 bits are signed, which the relaxed instruction does not take: they are widened and multiplied as 16 bits. */
function byteDots(job: DotJob, half: 0 | 1 | "both"): DotSums {
  const { f, rows } = job;
  const sums = new Sums(f, rows.length);
  const from = half === 1 ? 8 : 0;
  for (let pair = from; pair < (half === 0 ? 8 : 16); pair++) {
    const wide = vectorsOf(job).map(({ address, byteOffset }) =>
      f.let(v128.load8x8S(address, 32 * pair + byteOffset / 2)),
    );
    for (const row of rows.keys()) {
      const activations = quadOf(job, row, pair);
      for (const [v, own] of wide.entries()) sums.add(row, v, i32x4.dotI16x8S(activations, own), i32x4.add);
    }
  }
  return sums.done();
}
