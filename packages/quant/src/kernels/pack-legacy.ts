import { f32, i8x16, i32, type Local, select, type Value, v128 } from "@heddle/tensor/kernel";
import { doubledE2m1, unevenLevels } from "../ggml/legacy-blocks.js";
import { type PackJob, storeBytePairs, storeNibbles, storeUpperBits } from "./pack-codes.js";
import { copyHalf, highHalf, lowHalf, rowAt, rows, storeFloat } from "./pack-scales.js";

// Writers of blocks of 32, one group each: see `BlockWriter`.

/** Copies each row's scale, and the minimum behind it where there is one. */
function copyScales(job: PackJob): void {
  for (const row of rows) {
    copyHalf(job, job.targets.scales, { row, from: 0 });
    copyHalf(job, job.targets.mins, { row, from: 2 });
  }
}

function fourBits(codesAt: number) {
  return {
    codeBytes: 256,
    groups: 1,
    write(job: PackJob) {
      storeNibbles(job, 0, (row) => v128.load(rowAt(job, row), codesAt));
      copyScales(job);
    },
  };
}

export const q4_0 = fourBits(2);
export const q4_1 = fourBits(4);

const numberedBytes = (byteAt: (i: number) => number) => Uint8Array.from({ length: 16 }, (_, i) => byteAt(i));
/** Bit i & 7 in byte i. */
const ownBit = numberedBytes((i) => 1 << (i & 7));

/** 32 bits, of which bit i becomes bit 0 of byte i, and bit i + 16 bit 4. */
function spreadBits({ f }: PackJob, bits: Value<"v128">): Value<"v128"> {
  const all = f.let(bits);
  const are = (first: number, value: number) => {
    const bytes = i8x16.shuffle(
      all,
      all,
      Array.from({ length: 16 }, (_, i) => first + (i >> 3)),
    );
    const own = v128.const(ownBit);
    return v128.and(i8x16.eq(v128.and(bytes, own), own), i8x16.splat(value));
  };
  return v128.or(are(0, 1), are(2, 16));
}

/** Fifth bits in 4 bytes, then halves. Five bits are kept in six. */
function fiveBits(bitsAt: number) {
  return {
    codeBytes: 384,
    groups: 1,
    write(job: PackJob) {
      storeNibbles(job, 0, (row) => v128.load(rowAt(job, row), bitsAt + 4));
      storeUpperBits(job, 256, (row) => spreadBits(job, v128.load32Splat(rowAt(job, row), bitsAt)));
      copyScales(job);
    },
  };
}

export const q5_0 = fiveBits(2);
export const q5_1 = fiveBits(4);

export const q8_0 = {
  codeBytes: 512,
  groups: 1,
  write(job: PackJob) {
    storeBytePairs(job, (row, half) => v128.load(rowAt(job, row), 2 + 16 * half));
    copyScales(job);
  },
};

/** Stores halves that name one of 16 levels as those levels. */
function storeLevels(job: PackJob, codesAt: number, levels: readonly number[]): void {
  const table = v128.const(numberedBytes((i) => levels[i] ?? 0));
  storeBytePairs(job, (row, half) => {
    const pair = v128.load(rowAt(job, row), codesAt);
    return i8x16.swizzle(table, half === 0 ? lowHalf(pair) : highHalf(pair));
  });
}

export const iq4Nl = {
  codeBytes: 512,
  groups: 1,
  write(job: PackJob) {
    storeLevels(job, 2, unevenLevels);
    copyScales(job);
  },
};

export const mxfp4 = {
  codeBytes: 512,
  groups: 1,
  write(job: PackJob) {
    storeLevels(job, 1, doubledE2m1);
    for (const row of rows) {
      const exponent = job.f.let(i32.load8U(rowAt(job, row)));
      storeFloat(job, job.targets.scales, { row, value: powerOfTwo(exponent) });
    }
  },
};

/** 2^(e - 128), e in 0..255: the two smallest are denormal. */
function powerOfTwo(e: Local<"i32">): Value<"f32"> {
  const [normal, denormal] = [i32.shl(i32.sub(e, 1), 23), i32.shl(1 << 21, e)];
  return f32.reinterpretI32(select(i32.gtU(e, 1), normal, denormal));
}
