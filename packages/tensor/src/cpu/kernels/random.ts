import type { FunctionBuilder } from "../../wasm/assembler.js";
import { i32 } from "../../wasm/scalar.js";
import { f32x4, i32x4, i64x2, v128 } from "../../wasm/simd.js";
import { type FourVectors, transposeFour } from "../../wasm/transpose.js";
import type { Local, Value } from "../../wasm/value.js";
import type { CpuFeatures, LoweredKernel } from "../kernel.js";
import { argument, kernelStep } from "./kernel-step.js";
import { elementAddress } from "./lanes.js";

type Lanes = Value<"v128">;

/** Four counters of four words each make one vector pass. */
const passWords = 16;
const unitWords = 64 * passWords;

/**
 * Random words of a key's stream, or uniform numbers in [0, 1): element i is word i % 4 of Philox4x32-10 at counter
 * [floor(i / 4), 0, 0, stream]; a number is (word >>> 8) 2^-24.
 *
 * Buffers: key u32 [2], out [elements] (u32 words or f32 numbers). Twin: philox.ts.
 * @see Salmon et al. 2011, Parallel Random Numbers: As Easy as 1, 2, 3, section 3.3
 */
export function randomKernel(
  { elements, stream, kind }: { elements: number; stream: number; kind: "words" | "uniform" },
  features: CpuFeatures,
): LoweredKernel {
  const step = kernelStep(
    {
      key: `random/${kind}`,
      features,
      args: [argument.buffer(0), argument.buffer(1), argument.i32(elements), argument.i32(stream)],
      units: Math.ceil(elements / unitWords),
      grain: 4,
    },
    (f, [key, target, count, streamId], { begin, end }) => {
      const limit = f.let(i32.mul(end, unitWords));
      f.if(i32.gtU(limit, count), () => f.set(limit, count));
      const keys = [0, 4].map((offset) => f.let(v128.load32Splat(key, offset)));
      f.for(i32.mul(begin, unitWords), limit, passWords, (first) => {
        const block = i32x4.add(i32x4.splat(i32.shrU(first, 2)), v128.const(new Int32Array([0, 1, 2, 3])));
        const words = philoxRounds(f, f.let(block), { keys, streamId });
        const values = transposeFour(f, words).map((counter) =>
          kind === "words" ? counter : f.let(toUnit(counter)),
        );
        const address = f.let(elementAddress(target, first, "u32"));
        f.if(
          i32.leS(i32.add(first, passWords), limit),
          () => {
            for (const [k, value] of values.entries()) f.store("v128", address, value, 16 * k);
          },
          () =>
            values.forEach((value, k) => {
              for (let lane = 0; lane < 4; lane++) {
                const isInside = i32.ltS(i32.add(first, 4 * k + lane), limit);
                f.if(isInside, () =>
                  f.storeLane(32, address, value, { lane, byteOffset: 16 * k + 4 * lane }),
                );
              }
            }),
        );
      });
    },
  );
  return { steps: [step], scratchBytes: 0 };
}

/** Ten rounds at four counters [block, 0, 0, stream]: word w of all of them in vector w. */
function philoxRounds(
  f: FunctionBuilder,
  block: Local<"v128">,
  { keys, streamId }: { keys: readonly Local<"v128">[]; streamId: Local<"i32"> },
): FourVectors {
  let counter: FourVectors = [
    block,
    f.let(i32x4.splat(0)),
    f.let(i32x4.splat(0)),
    f.let(i32x4.splat(streamId)),
  ];
  let [k0 = block, k1 = block] = keys;
  for (let round = 0; round < 10; round++) {
    const [c0, c1, c2, c3] = counter;
    const [first, second] = [multiplyWide(f, c0, 0xd2511f53 | 0), multiplyWide(f, c2, 0xcd9e8d57 | 0)];
    counter = [
      f.let(v128.xor(v128.xor(second.high, c1), k0)),
      second.low,
      f.let(v128.xor(v128.xor(first.high, c3), k1)),
      first.low,
    ];
    k0 = f.let(i32x4.add(k0, 0x9e3779b9 | 0));
    k1 = f.let(i32x4.add(k1, 0xbb67ae85 | 0));
  }
  return counter;
}

/** High and low halves of the 64-bit products with a constant. */
function multiplyWide(f: FunctionBuilder, a: Local<"v128">, factor: number) {
  const lower = f.let(i64x2.extmulLowI32x4U(a, i32x4.splat(factor)));
  const upper = f.let(i64x2.extmulHighI32x4U(a, i32x4.splat(factor)));
  return {
    low: f.let(i32x4.shuffle(lower, upper, [0, 2, 4, 6])),
    high: f.let(i32x4.shuffle(lower, upper, [1, 3, 5, 7])),
  };
}

function toUnit(words: Lanes): Lanes {
  return f32x4.mul(f32x4.convertI32x4S(i32x4.shrU(words, 8)), 2 ** -24);
}
