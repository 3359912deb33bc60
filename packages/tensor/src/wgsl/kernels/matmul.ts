import { sizeOf } from "../../shape.js";
import type { WgslFeatures, WgslKernel, WgslStep } from "../kernel.js";
import { type BufferUse, bufferAt, type StepParam, wgslStep } from "../step.js";
import { offsetCode } from "../strides.js";
import type { MatmulCall } from "./matmul-call.js";
import { subgroupMatmulWgsl } from "./matmul-subgroups.js";
import { tiledMatmulStep } from "./matmul-tiled.js";

/**
 * The fastest product that the adapter and the operands allow: matrix units, tiles in workgroup memory, or one workgroup of
 * threads for each few outputs. Twin: matmul's loops.
 */
export function matmulWgsl(call: MatmulCall, features: WgslFeatures): WgslKernel {
  const { M, K } = call;
  const isLow = M <= 4 && K >= 32;
  return subgroupMatmulWgsl(call, features) ?? { steps: [isLow ? rowsStep(call) : tiledMatmulStep(call)] };
}

function operands({ dtypes: { a, b, c } }: MatmulCall): BufferUse[] {
  return [
    { name: "a", memory: bufferAt(0), dtype: a, access: "read" },
    { name: "b", memory: bufferAt(1), dtype: b, access: "read" },
    { name: "c", memory: bufferAt(2), dtype: c, access: "write" },
  ];
}

/** Extents, element strides of both operands, and where the matrices of batch number `batch` begin. */
function layout(call: MatmulCall) {
  const { M, N, K, transposeA, transposeB } = call;
  const walk = offsetCode(
    { shape: call.batch, strides: [call.batchStridesA, call.batchStridesB] },
    "batch",
    "w",
  );
  const params: Record<string, StepParam> = {
    M,
    N,
    K,
    aM: transposeA ? 1 : K,
    aK: transposeA ? M : 1,
    bK: transposeB ? 1 : N,
    bN: transposeB ? K : 1,
    ...walk.params,
  };
  return { params, code: walk.code, a: walk.offsets[0] ?? "0u", b: walk.offsets[1] ?? "0u" };
}

/** Few rows: 16 threads share one output and add up its terms; a workgroup does 16 outputs. */
function rowsStep(call: MatmulCall): WgslStep {
  const { M, N, batch, transposeB } = call;
  const { params, code, a, b } = layout(call);
  const outputs = M * N * sizeOf(batch);
  // Threads of one output are neighbours where K lies dense in b, else threads of neighbouring outputs are.
  const [output, lane] = transposeB ? ["thread / 16u", "thread % 16u"] : ["thread % 16u", "thread / 16u"];
  const partial = (at: string) => (transposeB ? `thread + ${at}` : `thread + ${at} * 16u`);
  return wgslStep({
    buffers: operands(call),
    params: { ...params, outputs },
    groups: Math.ceil(outputs / 16),
    declarations: "var<workgroup> parts: array<f32, 256>;",
    body: `  let wanted = group * 16u + ${output};
  let lane = ${lane};
  let at = min(wanted, P.outputs - 1u);
  let batch = at / (P.M * P.N);
  let m = (at / P.N) % P.M;
  let n = at % P.N;
${code}
  let baseA = ${a} + m * P.aM;
  let baseB = ${b} + n * P.bN;
  var sum = 0.0;
  for (var k = lane; k < P.K; k += 16u) { sum += load_a(baseA + k * P.aK) * load_b(baseB + k * P.bK); }
  parts[thread] = sum;
  for (var half = 8u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { parts[thread] += parts[${partial("half")}]; }
  }
  if (lane == 0u && wanted < P.outputs) { store_c(wanted, parts[thread]); }`,
  });
}
