import { sizeOf } from "../../shape.js";
import type { WgslFeatures, WgslKernel, WgslStep } from "../kernel.js";
import { type BufferUse, bufferAt, type StepParam, wgslStep } from "../step.js";
import { offsetCode } from "../strides.js";
import type { MatmulCall } from "./matmul-call.js";
import { subgroupMatmulWgsl } from "./matmul-subgroups.js";
import { matvecWgsl } from "./matvec.js";

const tile = 64;
const depth = 16;

/**
 * The fastest product that the adapter and the operands allow: half-precision weights times few rows, matrix units, tiles in
 * workgroup memory, or one workgroup of threads for each few outputs. Twin: matmul's loops.
 */
export function matmulWgsl(call: MatmulCall, features: WgslFeatures): WgslKernel {
  const { M, N, K, batch, transposeA, transposeB, dtypes } = call;
  const isVector = sizeOf(batch) === 1 && transposeB && !transposeA;
  const vector = isVector
    ? matvecWgsl({ M, N, K, dtypes: { x: dtypes.a, w: dtypes.b, y: dtypes.c } }, features)
    : undefined;
  const steps = [M <= 4 && K >= 32 ? rowsStep(call) : tiledStep(call)];
  return vector ?? subgroupMatmulWgsl(call, features) ?? { steps };
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

/** A workgroup of 256 threads computes 64 x 64 of c, each thread 4 x 4, over slices of 16 of the inner axis. */
function tiledStep(call: MatmulCall): WgslStep {
  const { M, N, batch, transposeA, transposeB } = call;
  const { params, code, a, b } = layout(call);
  const [tilesM, tilesN] = [Math.ceil(M / tile), Math.ceil(N / tile)];
  // Neighbouring threads read neighbouring elements of whichever axis lies dense in memory.
  const index = (dense: "k" | "edge") =>
    dense === "k"
      ? { edge: `flat / ${depth}u`, k: `flat % ${depth}u` }
      : { edge: `flat % ${tile}u`, k: `flat / ${tile}u` };
  const [fromA, fromB] = [index(transposeA ? "edge" : "k"), index(transposeB ? "k" : "edge")];
  return wgslStep({
    buffers: operands(call),
    params: { ...params, tilesM, tilesN },
    groups: tilesM * tilesN * sizeOf(batch),
    declarations: `var<workgroup> tileA: array<f32, ${depth * (tile + 1)}>;
var<workgroup> tileB: array<f32, ${depth * (tile + 1)}>;`,
    body: `  let batch = group / (P.tilesM * P.tilesN);
  let inBatch = group % (P.tilesM * P.tilesN);
  let m0 = (inBatch / P.tilesN) * ${tile}u;
  let n0 = (inBatch % P.tilesN) * ${tile}u;
${code}
  let baseA = ${a};
  let baseB = ${b};
  let tm = (thread / 16u) * 4u;
  let tn = thread % 16u;
  var acc: array<vec4f, 4>;
  for (var k0 = 0u; k0 < P.K; k0 += ${depth}u) {
    for (var part = 0u; part < 4u; part++) {
      let flat = part * 256u + thread;
      { let edge = ${fromA.edge}; let k = ${fromA.k};
        let m = m0 + edge; let kk = k0 + k;
        var value = 0.0;
        if (m < P.M && kk < P.K) { value = load_a(baseA + m * P.aM + kk * P.aK); }
        tileA[k * ${tile + 1}u + edge] = value; }
      { let edge = ${fromB.edge}; let k = ${fromB.k};
        let n = n0 + edge; let kk = k0 + k;
        var value = 0.0;
        if (n < P.N && kk < P.K) { value = load_b(baseB + n * P.bN + kk * P.bK); }
        tileB[k * ${tile + 1}u + edge] = value; }
    }
    workgroupBarrier();
    for (var k = 0u; k < ${depth}u; k++) {
      let row = k * ${tile + 1}u;
      let right = vec4f(tileB[row + tn], tileB[row + tn + 16u], tileB[row + tn + 32u], tileB[row + tn + 48u]);
      acc[0] += tileA[row + tm] * right;
      acc[1] += tileA[row + tm + 1u] * right;
      acc[2] += tileA[row + tm + 2u] * right;
      acc[3] += tileA[row + tm + 3u] * right;
    }
    workgroupBarrier();
  }
  for (var i = 0u; i < 4u; i++) {
    let m = m0 + tm + i;
    if (m >= P.M) { continue; }
    let base = (batch * P.M + m) * P.N;
    for (var j = 0u; j < 4u; j++) {
      let n = n0 + tn + j * 16u;
      if (n < P.N) { store_c(base + n, acc[i][j]); }
    }
  }`,
  });
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
