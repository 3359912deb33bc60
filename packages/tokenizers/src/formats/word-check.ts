import { instantiate } from "../wasm-module.js";

const FACTOR = 0x9e3779b1;

/**
 * Mixes 32-bit words, from the fourth on, into a check of 32 bits: four sums side by side, two words into each at a
 * step. In WebAssembly where the platform allows it, which is quick from the first word on.
 *
 * Twin: checkOfWordsByTwin
 */
export function checkOfWords(words: Uint32Array): number {
  const mixer = instantiate<Mixer>(MIXER);
  return mixer === null ? checkOfWordsByTwin(words) : checkBy(mixer, words);
}

/** The same without WebAssembly. The steps are written out: much is read before the engine has compiled calls away. */
export function checkOfWordsByTwin(words: Uint32Array): number {
  let [first, second, third, fourth] = [words.length, 1, 2, 3];
  let at = 3;
  for (; at + 7 < words.length; at += 8) {
    first = Math.imul(first ^ (words[at] as number), FACTOR);
    first = ((first ^ (first >>> 15)) + (words[at + 1] as number)) | 0;
    second = Math.imul(second ^ (words[at + 2] as number), FACTOR);
    second = ((second ^ (second >>> 15)) + (words[at + 3] as number)) | 0;
    third = Math.imul(third ^ (words[at + 4] as number), FACTOR);
    third = ((third ^ (third >>> 15)) + (words[at + 5] as number)) | 0;
    fourth = Math.imul(fourth ^ (words[at + 6] as number), FACTOR);
    fourth = ((fourth ^ (fourth >>> 15)) + (words[at + 7] as number)) | 0;
  }
  return finish(Int32Array.of(first, second, third, fourth), words.subarray(at));
}

function finish(sums: Int32Array, rest: Uint32Array): number {
  const [first = 0, ...others] = sums;
  return [...others].reduce(mixed, rest.reduce(mixed, first)) >>> 0;
}

function mixed(sum: number, word: number): number {
  const product = Math.imul(sum ^ word, FACTOR);
  return product ^ (product >>> 15);
}

/** Four sums and, behind them, words in the memory of a module, and its function that mixes words up to byte `end`. */
interface Mixer {
  readonly m: WebAssembly.Memory;
  readonly f: (end: number) => void;
}

/** Words that the module mixes at once; its memory is one page of 64 kB. */
const CHUNK = 8192;

function checkBy({ m, f }: Mixer, words: Uint32Array): number {
  const memory = new Int32Array(m.buffer);
  memory.set([words.length, 1, 2, 3]);
  const end = words.length - ((words.length - 3) & 7);
  for (let at = 3; at < end; at += CHUNK) {
    const chunk = words.subarray(at, Math.min(at + CHUNK, end));
    memory.set(chunk, 4);
    f((4 + chunk.length) * 4);
  }
  return finish(memory.slice(0, 4), words.subarray(end));
}

/**
 * (module
 *   (memory (export "m") 1)
 *   (func (export "f") (param $end i32) (local $at i32) (local $sums v128) (local $low v128) (local $high v128)
 *     (local.set $sums (v128.load (i32.const 0)))
 *     (local.set $at (i32.const 16))
 *     (loop
 *       (local.set $low (v128.load (local.get $at)))
 *       (local.set $high (v128.load offset=16 (local.get $at)))
 *       ;; sums = (sums ^ words 0, 2, 4, 6) * FACTOR
 *       (i32x4.mul (v128.xor (local.get $sums) (i8x16.shuffle 0 1 2 3 8 9 10 11 16 17 18 19 24 25 26 27
 *         (local.get $low) (local.get $high)))
 *         (v128.const i32x4 0x9e3779b1 0x9e3779b1 0x9e3779b1 0x9e3779b1))
 *       (local.tee $sums)
 *       ;; sums = (sums ^ sums >>> 15) + words 1, 3, 5, 7
 *       (v128.xor (i32x4.shr_u (local.get $sums) (i32.const 15)))
 *       (i32x4.add (i8x16.shuffle 4 5 6 7 12 13 14 15 20 21 22 23 28 29 30 31 (local.get $low) (local.get $high)))
 *       (local.set $sums)
 *       (br_if 0 (i32.lt_s (local.tee $at (i32.add (local.get $at) (i32.const 32))) (local.get $end))))
 *     (v128.store (i32.const 0) (local.get $sums))))
 */
const MIXER =
  "0061736d0100000001050160017f00030201000503010001070902016d0200016600000a9101018e0102017f037b4100fd000400210241102101" +
  "03402001fd00040021032001fd0004102104200220032004fd0d0001020308090a0b1011121318191a1bfd51fd0cb179379eb179379eb179379e" +
  "b179379efdb50122022002410ffdad01fd5120032004fd0d040506070c0d0e0f141516171c1d1e1ffdae012102200141206a22012000480d000b" +
  "41002002fd0b04000b";
