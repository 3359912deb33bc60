import { type BlockContent, type BlockSource, f16At, fillCodes } from "./block-source.js";

const byteAt = (bytes: Uint8Array, at: number) => bytes[at] ?? 0;
/** Two bits of element i of 256: elements 32 apart share a byte. */
const twoBitsAt = (bytes: Uint8Array, at: number, i: number) =>
  (byteAt(bytes, at + (i >> 7) * 32 + (i & 31)) >> (((i >> 5) & 3) * 2)) & 3;
/** Four bits of element i of 256: sub-blocks 2k and 2k + 1 in the halves of 32 bytes. */
const fourBitsAt = (bytes: Uint8Array, at: number, i: number) =>
  (byteAt(bytes, at + (i >> 6) * 32 + (i & 31)) >> (((i >> 5) & 1) * 4)) & 15;

/** Minima are subtracted in the file and added here. */
function setSupers({ supers }: BlockContent, d: number, dmin = 0): void {
  supers[0] = d;
  supers[1] = -dmin;
}

/** s and m 16 bytes | 2-bit codes 64 bytes | d f16 | dmin f16. Two bits are kept in four. */
export const q2K: BlockSource = {
  format: { codeBits: 4, offset: 0, groupSize: 16, scaleDType: "u8", hasMin: true },
  read(bytes, at, out) {
    setSupers(out, f16At(bytes, at + 80), f16At(bytes, at + 82));
    for (let j = 0; j < 16; j++) {
      out.scales[j] = byteAt(bytes, at + j) & 15;
      out.mins[j] = byteAt(bytes, at + j) >> 4;
    }
    fillCodes(out, 256, (i) => twoBitsAt(bytes, at + 16, i));
  },
};

/** Third bits 32 bytes | 2-bit codes 64 bytes | 16 scales of 6 bits | d f16. Three bits are kept in four. */
export const q3K: BlockSource = {
  format: { codeBits: 4, offset: 4, groupSize: 16, scaleDType: "i8", hasMin: false },
  read(bytes, at, out) {
    setSupers(out, f16At(bytes, at + 108));
    for (let j = 0; j < 16; j++) {
      const low = (byteAt(bytes, at + 96 + (j & 7)) >> (j < 8 ? 0 : 4)) & 15;
      const high = (byteAt(bytes, at + 104 + (j & 3)) >> ((j >> 2) * 2)) & 3;
      out.scales[j] = (low | (high << 4)) - 32;
    }
    const highBit = (i: number) => (byteAt(bytes, at + (i & 31)) >> (i >> 5)) & 1;
    fillCodes(out, 256, (i) => twoBitsAt(bytes, at + 32, i) | (highBit(i) << 2));
  },
};

/** Eight scales and eight minima of 6 bits in 12 bytes. */
function readScalesAndMins(bytes: Uint8Array, at: number, out: BlockContent): void {
  for (let j = 0; j < 4; j++) {
    const [low, mid, high] = [byteAt(bytes, at + j), byteAt(bytes, at + j + 4), byteAt(bytes, at + j + 8)];
    out.scales[j] = low & 63;
    out.mins[j] = mid & 63;
    out.scales[j + 4] = (high & 15) | ((low >> 6) << 4);
    out.mins[j + 4] = (high >> 4) | ((mid >> 6) << 4);
  }
}

/** d f16 | dmin f16 | s and m 12 bytes | 4-bit codes 128 bytes. */
export const q4K: BlockSource = {
  format: { codeBits: 4, offset: 0, groupSize: 32, scaleDType: "u8", hasMin: true },
  read(bytes, at, out) {
    setSupers(out, f16At(bytes, at), f16At(bytes, at + 2));
    readScalesAndMins(bytes, at + 4, out);
    fillCodes(out, 256, (i) => fourBitsAt(bytes, at + 16, i));
  },
};

/** As Q4_K, with fifth bits in 32 bytes before the codes. Five bits are kept in six. */
export const q5K: BlockSource = {
  format: { codeBits: 6, offset: 0, groupSize: 32, scaleDType: "u8", hasMin: true },
  read(bytes, at, out) {
    setSupers(out, f16At(bytes, at), f16At(bytes, at + 2));
    readScalesAndMins(bytes, at + 4, out);
    const fifth = (i: number) => (byteAt(bytes, at + 16 + (i & 31)) >> (i >> 5)) & 1;
    fillCodes(out, 256, (i) => fourBitsAt(bytes, at + 48, i) | (fifth(i) << 4));
  },
};

/** Low 4 bits 128 bytes | upper 2 bits 64 bytes | 16 x i8 scales | d f16. */
export const q6K: BlockSource = {
  format: { codeBits: 6, offset: 32, groupSize: 16, scaleDType: "i8", hasMin: false },
  read(bytes, at, out) {
    setSupers(out, f16At(bytes, at + 208));
    for (let j = 0; j < 16; j++) out.scales[j] = (byteAt(bytes, at + 192 + j) << 24) >> 24;
    const low = (i: number) => (byteAt(bytes, at + (i >> 7) * 64 + (i & 63)) >> (((i >> 6) & 1) * 4)) & 15;
    fillCodes(out, 256, (i) => low(i) | (twoBitsAt(bytes, at + 128, i) << 4));
  },
};
