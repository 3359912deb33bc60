// Compares half-precision and quantised products of awkward sizes on this machine's GPU with float64 sums of the same
// numbers: `products [half|fast]`. For machines without the test runner, and for matrix units, which no software adapter has.
import { quantizeTensor } from "@heddle/quant";
import { linear, matmul, randn, type Tensor } from "@heddle/tensor";
import { openDevice } from "./parts/open-device.ts";

const words = process.argv.slice(2);
const device = await openDevice(words);
/** Units of the last place of a half, on a sum as large as its terms. */
const tolerance = 2 ** -11;
const sizes = [5, 17, 32, 33, 64, 130, 258];
let [count, failed, worst] = [0, 0, 0];

for (const M of sizes) {
  for (const N of [2, 17, 72, 258]) {
    for (const K of [8, 34, 100, 513]) {
      for (const [transposeA, transposeB] of [
        [false, true],
        [false, false],
        [true, false],
      ] as const) {
        using a = half(transposeA ? [K, M] : [M, K], M);
        using b = half(transposeB ? [N, K] : [K, N], N);
        using c = matmul(a, b, { transposeA, transposeB });
        await check(`f16 ${M} x ${N} over ${K} ${transposeA} ${transposeB}`, {
          M,
          N,
          K,
          a,
          b,
          c,
          transposeA,
          transposeB,
        });
      }
    }
  }
}
console.log(`${count} products of halves, ${failed} differ, by ${worst.toExponential(1)} at most`);
for (const bits of [4, 8] as const) {
  for (const M of [9, 33, 50, 200]) {
    for (const [N, K] of [
      [40, 36],
      [130, 96],
      [258, 256],
    ] as const) {
      using dense = randn(device, [N, K], { seed: N });
      using weight = await quantizeTensor(dense, { bits, groupSize: 32, isSymmetric: M % 2 === 0 });
      using a = randn(device, [M, K], { seed: M });
      using b = weight.dequantize();
      using c = linear(a, weight);
      await check(`int${bits} ${M} x ${N} over ${K}`, {
        M,
        N,
        K,
        a,
        b,
        c,
        transposeA: false,
        transposeB: true,
      });
    }
  }
}
console.log(
  `${count - failed} of ${count} products agree within ${tolerance}; largest difference ${worst.toExponential(1)}`,
);
device.dispose();
process.exitCode = failed === 0 ? 0 : 1;

function half(shape: readonly number[], seed: number): Tensor {
  return randn(device, shape, { seed, dtype: "f32" }).cast("f16");
}

interface Product {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly a: Tensor;
  readonly b: Tensor;
  readonly c: Tensor;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
}

async function check(name: string, { M, N, K, a, b, c, transposeA, transposeB }: Product): Promise<void> {
  const [x, w, got] = [await a.data(), await b.data(), await c.data()];
  let error = 0;
  const step = M * N > 4000 ? 7 : 1;
  for (let at = 0; at < M * N; at += step) {
    const [m, n] = [Math.floor(at / N), at % N];
    let [sum, size] = [0, 1e-30];
    for (let k = 0; k < K; k++) {
      const term =
        (x[transposeA ? k * M + m : m * K + k] ?? 0) * (w[transposeB ? n * K + k : k * N + n] ?? 0);
      sum += term;
      size += Math.abs(term);
    }
    const difference = Math.abs((got[at] ?? Number.NaN) - sum) / size;
    error = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : Math.max(error, difference);
  }
  count++;
  worst = Math.max(worst, error);
  // Few rows of quantised products round x to int8; of more both x and the widened weights are rounded to halves.
  const allowed = !name.startsWith("int") ? 1.5 * tolerance : M <= 32 ? 1 / 127 : 2.1 * tolerance;
  if (error <= allowed) return;
  failed++;
  if (failed <= 12) console.log(`FAIL ${name}: ${error.toExponential(1)}`);
}
