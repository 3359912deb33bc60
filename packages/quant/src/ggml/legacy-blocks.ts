import type { QuantFormat } from "../quant-format.js";
import { type BlockSource, bitAt, f16At, fillCodes, nibbleAt } from "./block-source.js";

const groupsOf32 = { groupSize: 32, scaleDType: "f16" } as const;
const fourBits: QuantFormat = { ...groupsOf32, codeBits: 4, offset: 8, hasMin: false };

/** d f16 | 16 bytes, element i in the low half of byte i, i + 16 in the high half. */
export const q4_0: BlockSource = {
  format: fourBits,
  read(bytes, at, out) {
    out.scales[0] = f16At(bytes, at);
    fillCodes(out, 32, (i) => nibbleAt(bytes, at + 2, i));
  },
};

/** d f16 | m f16 | halves as in Q4_0. */
export const q4_1: BlockSource = {
  format: { ...fourBits, offset: 0, hasMin: true },
  read(bytes, at, out) {
    out.scales[0] = f16At(bytes, at);
    out.mins[0] = f16At(bytes, at + 2);
    fillCodes(out, 32, (i) => nibbleAt(bytes, at + 4, i));
  },
};

/** d f16 | fifth bits | halves. Five bits are kept in six. */
export const q5_0: BlockSource = {
  format: { ...groupsOf32, codeBits: 6, offset: 16, hasMin: false },
  read(bytes, at, out) {
    out.scales[0] = f16At(bytes, at);
    fillCodes(out, 32, (i) => nibbleAt(bytes, at + 6, i) | (bitAt(bytes, at + 2, i) << 4));
  },
};

/** d f16 | m f16 | fifth bits | halves. */
export const q5_1: BlockSource = {
  format: { ...groupsOf32, codeBits: 6, offset: 0, hasMin: true },
  read(bytes, at, out) {
    out.scales[0] = f16At(bytes, at);
    out.mins[0] = f16At(bytes, at + 2);
    fillCodes(out, 32, (i) => nibbleAt(bytes, at + 8, i) | (bitAt(bytes, at + 4, i) << 4));
  },
};

/** d f16 | 32 x i8. */
export const q8_0: BlockSource = {
  format: { ...groupsOf32, codeBits: 8, offset: 0, hasMin: false },
  read(bytes, at, out) {
    out.scales[0] = f16At(bytes, at);
    fillCodes(out, 32, (i) => ((bytes[at + 2 + i] ?? 0) << 24) >> 24);
  },
};

/** The levels of IQ4_NL by code. */
export const unevenLevels = [
  -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
] as const;

/** d f16 | halves that name one of 16 uneven levels, which are kept in 8 bits. */
export const iq4Nl: BlockSource = {
  format: { ...groupsOf32, codeBits: 8, offset: 0, hasMin: false },
  read(bytes, at, out) {
    out.scales[0] = f16At(bytes, at);
    fillCodes(out, 32, (i) => unevenLevels[nibbleAt(bytes, at + 2, i)] ?? 0);
  },
};

/** Twice the values of E2M1 by code; the scale is halved in turn. */
export const doubledE2m1 = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12] as const;

/** e u8 | halves: 2^(e - 127) E2M1[q]. Kept in 8 bits with an f32 scale. */
export const mxfp4: BlockSource = {
  format: { codeBits: 8, offset: 0, groupSize: 32, scaleDType: "f32", hasMin: false },
  read(bytes, at, out) {
    out.scales[0] = 2 ** ((bytes[at] ?? 0) - 128);
    fillCodes(out, 32, (i) => doubledE2m1[nibbleAt(bytes, at + 1, i)] ?? 0);
  },
};
