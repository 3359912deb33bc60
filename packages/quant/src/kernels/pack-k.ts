import { f32, i8x16, i32, type Local, type Value, v128 } from "@heddle/tensor/kernel";
import { type PackJob, storeNibbles, storeUpperBits } from "./pack-codes.js";
import {
  bitsBeside,
  highHalves,
  lowHalves,
  rowAt,
  rows,
  storeFloat,
  storeSpread,
  widenHalf,
} from "./pack-scales.js";

// Writers of blocks of 256, eight blocks of a panel each: see `BlockWriter`.

const subBlocks = [0, 1, 2, 3, 4, 5, 6, 7] as const;
const lowFour = (x: Value<"i32">) => i32.and(x, 0x0f0f_0f0f);

/** Writes a row's second-level scale and, negated, its second-level minimum: half floats at these bytes. */
function storeSupers(job: PackJob, row: number, { d, dmin }: { readonly d: number; readonly dmin?: number }) {
  const at = rowAt(job, row);
  storeFloat(job, job.targets.superScales, { row, value: widenHalf(job, at, d) });
  if (dmin === undefined) return;
  storeFloat(job, job.targets.superMins, { row, value: f32.neg(widenHalf(job, at, dmin)) });
}

/** Four bits of each element of a sub-block: two sub-blocks in the halves of 32 bytes. */
function nibblesOf(job: PackJob, at: Local<"i32">, { byte, isHigh }: { byte: number; isHigh: boolean }) {
  const [a, b] = [job.f.let(v128.load(at, byte)), job.f.let(v128.load(at, byte + 16))];
  return isHigh ? highHalves(a, b) : lowHalves(a, b);
}

/** Two bits are kept in four. */
export const q2K = {
  codeBytes: 8 * 256,
  groups: 16,
  write(job: PackJob) {
    const { targets } = job;
    for (const sub of subBlocks) {
      const place = { byte: 16 + 32 * (sub >> 2), shift: 2 * (sub & 3), count: 2 };
      storeNibbles(job, 256 * sub, (row) => bitsBeside(rowAt(job, row), place));
    }
    for (const row of rows) {
      const at = rowAt(job, row);
      for (let group = 0; group < 16; group += 4) {
        const both = job.f.let(i32.load(at, group));
        storeSpread(job, targets.scales, { row, group, bytes: lowFour(both) });
        storeSpread(job, targets.mins, { row, group, bytes: lowFour(i32.shrU(both, 4)) });
      }
      storeSupers(job, row, { d: 80, dmin: 82 });
    }
  },
};

/** Three bits are kept in four. */
export const q3K = {
  codeBytes: 8 * 256,
  groups: 16,
  write(job: PackJob) {
    for (const sub of subBlocks) {
      const low = { byte: 32 + 32 * (sub >> 2), shift: 2 * (sub & 3), count: 2 };
      const third = { byte: 0, shift: sub, count: 1 };
      storeNibbles(job, 256 * sub, (row) => {
        const at = rowAt(job, row);
        return v128.or(bitsBeside(at, low), i8x16.shl(bitsBeside(at, third), 2));
      });
    }
    for (const row of rows) {
      const at = rowAt(job, row);
      const upper = job.f.let(i32.load(at, 104));
      for (let quad = 0; quad < 4; quad++) {
        const low = lowFour(i32.shrU(i32.load(at, 96 + 4 * (quad & 1)), 4 * (quad >> 1)));
        const two = i32.and(i32.shrU(upper, 2 * quad), 0x0303_0303);
        const six = i32.or(low, i32.shl(two, 4));
        storeSpread(job, job.targets.scales, { row, group: 4 * quad, bytes: less32(job, six) });
      }
      storeSupers(job, row, { d: 108 });
    }
  },
};

/** Four bytes of 0..63, each less 32: with the sixth bit turned, and drawn on to the two above. */
function less32({ f }: PackJob, six: Value<"i32">): Value<"i32"> {
  const turned = f.let(i32.xor(six, 0x2020_2020));
  const sign = f.let(i32.and(turned, 0x2020_2020));
  return i32.or(turned, i32.or(i32.shl(sign, 1), i32.shl(sign, 2)));
}

/** Eight scales and eight minima of 6 bits in 12 bytes: see `scaleAndMin` of @heddle/checkpoints. */
function storeScalesAndMins(job: PackJob, row: number): void {
  const { f, targets } = job;
  const at = rowAt(job, row);
  const [low, mid, high] = [f.let(i32.load(at, 4)), f.let(i32.load(at, 8)), f.let(i32.load(at, 12))];
  const six = (x: Local<"i32">) => i32.and(x, 0x3f3f_3f3f);
  const upper = (x: Local<"i32">) => i32.and(i32.shrU(x, 2), 0x3030_3030);
  const store = (target: Local<"i32"> | undefined, group: number, bytes: Value<"i32">) =>
    storeSpread(job, target, { row, group, bytes });
  store(targets.scales, 0, six(low));
  store(targets.scales, 4, i32.or(lowFour(high), upper(low)));
  store(targets.mins, 0, six(mid));
  store(targets.mins, 4, i32.or(lowFour(i32.shrU(high, 4)), upper(mid)));
  storeSupers(job, row, { d: 0, dmin: 2 });
}

export const q4K = {
  codeBytes: 8 * 256,
  groups: 8,
  write(job: PackJob) {
    for (const sub of subBlocks) {
      const place = { byte: 16 + 32 * (sub >> 1), isHigh: sub % 2 === 1 };
      storeNibbles(job, 256 * sub, (row) => nibblesOf(job, rowAt(job, row), place));
    }
    for (const row of rows) storeScalesAndMins(job, row);
  },
};

/** Five bits are kept in six. */
export const q5K = {
  codeBytes: 8 * 384,
  groups: 8,
  write(job: PackJob) {
    for (const sub of subBlocks) {
      const place = { byte: 48 + 32 * (sub >> 1), isHigh: sub % 2 === 1 };
      const fifth = { byte: 16, shift: sub, count: 1 };
      storeNibbles(job, 384 * sub, (row) => nibblesOf(job, rowAt(job, row), place));
      storeUpperBits(job, 384 * sub + 256, (row) => bitsBeside(rowAt(job, row), fifth));
    }
    for (const row of rows) storeScalesAndMins(job, row);
  },
};

export const q6K = {
  codeBytes: 8 * 384,
  groups: 16,
  write(job: PackJob) {
    for (const sub of subBlocks) {
      const [part, quarter] = [sub >> 2, sub & 3];
      const low = { byte: 64 * part + 32 * (quarter & 1), isHigh: quarter >= 2 };
      const upper = { byte: 128 + 32 * part, shift: 2 * quarter, count: 2 };
      storeNibbles(job, 384 * sub, (row) => nibblesOf(job, rowAt(job, row), low));
      storeUpperBits(job, 384 * sub + 256, (row) => bitsBeside(rowAt(job, row), upper));
    }
    for (const row of rows) {
      const at = rowAt(job, row);
      for (let group = 0; group < 16; group += 4) {
        storeSpread(job, job.targets.scales, { row, group, bytes: i32.load(at, 192 + group) });
      }
      storeSupers(job, row, { d: 208 });
    }
  },
};
