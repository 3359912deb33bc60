/**
 * Philox4x32-10: four random words for a counter and a key. Any element can be computed alone, so threads and devices agree.
 *
 * @see Salmon et al. 2011, Parallel Random Numbers: As Easy as 1, 2, 3, section 3.3
 */
export function philox(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): [number, number, number, number] {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const [low0, low1] = [Math.imul(0xd2511f53, c0) >>> 0, Math.imul(0xcd9e8d57, c2) >>> 0];
    const [high0, high1] = [highWord(0xd2511f53, c0), highWord(0xcd9e8d57, c2)];
    [c0, c1, c2, c3] = [(high1 ^ c1 ^ k0) >>> 0, low1, (high0 ^ c3 ^ k1) >>> 0, low0];
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** The key of a whole-number seed: its low and high 32 bits. */
export function seedToKey(seed: number): [number, number] {
  return [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0];
}

/** What the fourth counter word separates, so that no two uses of one key overlap. */
export const stream = { values: 0, split: 1, fold: 2 } as const;

/**
 * Random words 0..count-1 of a key's stream: `philox` for the counters [0, 0, 0, stream], [1, 0, 0, stream], ... without
 * allocating (its readable twin is `philox`).
 */
export function randomWords(key: readonly [number, number], count: number, streamId: number): Uint32Array {
  const words = new Uint32Array(Math.ceil(count / 4) * 4);
  for (let at = 0; at < words.length; at += 4) {
    let [c0, c1, c2, c3, k0, k1] = [at / 4, 0, 0, streamId, key[0], key[1]];
    for (let round = 0; round < 10; round++) {
      const high0 = highWord(0xd2511f53, c0);
      const high1 = highWord(0xcd9e8d57, c2);
      const low0 = Math.imul(0xd2511f53, c0);
      c0 = high1 ^ c1 ^ k0;
      c1 = Math.imul(0xcd9e8d57, c2);
      c2 = high0 ^ c3 ^ k1;
      c3 = low0;
      k0 = (k0 + 0x9e3779b9) | 0;
      k1 = (k1 + 0xbb67ae85) | 0;
    }
    words[at] = c0;
    words[at + 1] = c1;
    words[at + 2] = c2;
    words[at + 3] = c3;
  }
  return words.subarray(0, count);
}

/** High 32 bits of the unsigned product. */
function highWord(a: number, b: number): number {
  const [aHigh, aLow, bHigh, bLow] = [a >>> 16, a & 0xffff, b >>> 16, b & 0xffff];
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const carry = aLow * bHigh + (middle & 0xffff);
  return aHigh * bHigh + Math.floor(middle / 0x10000) + Math.floor(carry / 0x10000);
}

/** A word as a number in [0, 1) with 24 random bits, exact in f32. */
export function wordToUnit(word: number): number {
  return (word >>> 8) * 2 ** -24;
}
