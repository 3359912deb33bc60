import { type GgmlType, ggmlTypeInfo, numberToF16, philox } from "@heddle/tensor";

/** Byte places of the half floats of a block, which must hold sane numbers; all other bytes may be anything. */
const halves: Partial<Record<GgmlType, readonly number[]>> = {
  Q4_0: [0],
  Q4_1: [0, 2],
  Q5_0: [0],
  Q5_1: [0, 2],
  Q8_0: [0],
  Q2_K: [80, 82],
  Q3_K: [108],
  Q4_K: [0, 2],
  Q5_K: [0, 2],
  Q6_K: [208],
  IQ4_NL: [0],
};

/** Half floats at the ends of what a file may hold: zeros, denormal ones, the smallest normal and the largest. */
const edges = [0x0000, 0x8000, 0x0001, 0x83ff, 0x0400, 0x7bff, 0xfbff];

/** Random blocks, of which about every second half float, and exponent of MXFP4, lies at an end of its range. */
export function edgeBlocks(type: GgmlType, count: number, seed: number): Uint8Array {
  const bytes = randomBlocks(type, count, seed);
  const { blockBytes } = ggmlTypeInfo(type);
  for (let at = 0, block = 0; at < bytes.length; at += blockBytes, block++) {
    const [choice = 0, second = 0] = philox([block, 0, 0, 0], [seed, 8]);
    for (const place of halves[type] ?? []) {
      const half = edges[((place === 0 ? choice : second) >>> 8) % (2 * edges.length)];
      if (half === undefined) continue;
      bytes[at + place] = half & 255;
      bytes[at + place + 1] = half >> 8;
    }
    if (type === "MXFP4" && choice % 2 === 0) bytes[at] = [0, 1, 2, 254, 255][second % 5] ?? 0;
  }
  return bytes;
}

/** Blocks of random bits with scales around 0.01, some of them negative: what any file could hold. */
export function randomBlocks(type: GgmlType, count: number, seed: number): Uint8Array {
  const { blockSize, blockBytes } = ggmlTypeInfo(type);
  const bytes = new Uint8Array((count / blockSize) * blockBytes);
  const words = new Uint32Array(Math.ceil(bytes.length / 4));
  for (let i = 0; i < words.length; i += 4) {
    const four = philox([i, 0, 0, 0], [seed, 7]);
    for (let j = 0; j < 4; j++) if (i + j < words.length) words[i + j] = four[j] ?? 0;
  }
  bytes.set(new Uint8Array(words.buffer, 0, bytes.length));
  for (let at = 0; at < bytes.length; at += blockBytes) {
    for (const place of halves[type] ?? []) {
      const unit = (bytes[at + place] ?? 0) / 255;
      const half = numberToF16((unit + 0.1) * 0.02 * ((bytes[at + place + 1] ?? 0) % 2 === 0 ? 1 : -1));
      bytes[at + place] = half & 255;
      bytes[at + place + 1] = half >> 8;
    }
    if (type === "MXFP4") bytes[at] = 118 + ((bytes[at] ?? 0) & 3);
  }
  return bytes;
}
