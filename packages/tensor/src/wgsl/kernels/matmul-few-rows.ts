import type { WgslFeatures, WgslKernel, WgslStep } from "../kernel.js";
import { bufferAt, wgslStep } from "../step.js";
import type { MatmulCall } from "./matmul-call.js";
import { hasMatrixUnits, matrixAliases, matrixDirectives, matrixEdge } from "./matrix-tiles.js";
import { each } from "./team.js";

/** How a workgroup reads its weights. */
export interface RowsTiling {
  /** Subgroups that take turns along the inner axis, and matrices of 16 of it that each reads at a time. */
  readonly subgroups: number;
  readonly ahead: number;
  /** Matrices of 16 outputs of a workgroup. */
  readonly wide: number;
}

const subgroupSize = 32;
/** Rows that a kernel keeps sums for at most. */
const maxRows = 64;

/**
 * Half-precision weights [N, K] times 16 to 64 rows of x: the weights are read once, straight into matrices, and bound the
 * time. The subgroups of a workgroup share the inner axis and add up at the end.
 *
 * For adapters with matrix units and K a multiple of 64; undefined else. Twin: matmul's loops.
 */
export function fewRowsWgsl(
  call: MatmulCall,
  features: WgslFeatures,
  tiling?: RowsTiling,
): WgslKernel | undefined {
  const { M, N, K, transposeA, transposeB, dtypes, batch } = call;
  const isHalf = [dtypes.a, dtypes.b, dtypes.c].every((dtype) => dtype === "f16");
  const fits = M >= matrixEdge && M <= maxRows && N >= matrixEdge && N % 2 === 0 && K % 64 === 0;
  if (!hasMatrixUnits(features) || !isHalf || !fits || batch.length > 0 || transposeA || !transposeB)
    return undefined;
  return { steps: [rowsStep(call, tiling ?? tilingOf(call))] };
}

/** With many outputs x is read less often; few are spread over as many workgroups as there can be. */
function tilingOf({ M, N }: MatmulCall): RowsTiling {
  const isLow = M <= 2 * matrixEdge;
  if (N >= 8192) return { subgroups: 4, ahead: 4, wide: isLow ? 4 : 2 };
  return { subgroups: isLow ? 8 : 4, ahead: 4, wide: 1 };
}

function rowsStep({ M, N, K }: MatmulCall, { subgroups, ahead, wide }: RowsTiling): WgslStep {
  const high = Math.ceil(M / matrixEdge);
  const threads = subgroups * subgroupSize;
  const perSum = matrixEdge * matrixEdge;
  const columns = wide * matrixEdge;
  const slice = ahead * matrixEdge;
  // The last matrix of rows or outputs begins earlier rather than to go past the end: some are computed twice.
  const row = (i: number) => `min(${i * matrixEdge}u, P.M - ${matrixEdge}u)`;
  const column = (j: number) => `min(n0 + ${j * matrixEdge}u, P.N - ${matrixEdge}u)`;
  const place = (at: string) => `(${at}) * P.K / 8u`;
  return wgslStep({
    buffers: [
      { name: "x", memory: bufferAt(0), dtype: "f16", access: "read", element: "vec4<u32>" },
      { name: "w", memory: bufferAt(1), dtype: "f16", access: "read", element: "vec4<u32>" },
      { name: "y", memory: bufferAt(2), dtype: "f16", access: "words", element: "u32" },
    ],
    params: { M, N, K },
    threads,
    groups: Math.ceil(N / columns),
    enable: matrixDirectives,
    declarations: `${matrixAliases}
var<workgroup> sums: array<f32, ${subgroups * high * wide * perSum}>;`,
    body: `  let subgroup = thread / ${subgroupSize}u;
  let n0 = group * ${columns}u;
${each(high, (i) => `  let xAt${i} = ${place(row(i))};`)}
${each(wide, (j) => `  let wAt${j} = ${place(column(j))};`)}
${each(high * wide, (n) => `  var sum${Math.floor(n / wide)}_${n % wide}: Sum;`)}
  for (var k = subgroup * ${slice}u; k < P.K; k += ${subgroups * slice}u) {
${each(ahead, (u) => each(wide, (j) => `    let w${u}_${j} = subgroupMatrixLoad<Right, col_major>(&w, wAt${j} + k / 8u + ${u * 2}u, P.K / 8u);`))}
${each(ahead, (u) => each(high, (i) => `    let x${u}_${i} = subgroupMatrixLoad<Left, row_major>(&x, xAt${i} + k / 8u + ${u * 2}u, P.K / 8u);`))}
${each(ahead, (u) =>
  each(high * wide, (n) => {
    const [i, j] = [Math.floor(n / wide), n % wide];
    return `    sum${i}_${j} = subgroupMatrixMultiplyAccumulate(x${u}_${i}, w${u}_${j}, sum${i}_${j});`;
  }),
)}
  }
${each(high * wide, (n) => `  subgroupMatrixStore<row_major>(&sums, subgroup * ${high * wide * perSum}u + ${n * perSum}u, sum${Math.floor(n / wide)}_${n % wide}, ${matrixEdge}u);`)}
  workgroupBarrier();
  for (var at = thread * 2u; at < ${high * wide * perSum}u; at += ${threads * 2}u) {
    let matrix = at / ${perSum}u;
    let m = min((matrix / ${wide}u) * ${matrixEdge}u, P.M - ${matrixEdge}u) + (at % ${perSum}u) / ${matrixEdge}u;
    let n = min(n0 + (matrix % ${wide}u) * ${matrixEdge}u, P.N - ${matrixEdge}u) + at % ${matrixEdge}u;
    var pair = vec2f();
${each(subgroups, (s) => `    pair += vec2f(sums[${s * high * wide * perSum}u + at], sums[${s * high * wide * perSum}u + at + 1u]);`)}
    y[(m * P.N + n) / 2u] = pack2x16float(pair);
  }`,
  });
}
