import { sizeOf } from "../../shape.js";
import type { WgslFeatures, WgslKernel } from "../kernel.js";
import { bufferAt, wgslStep } from "../step.js";
import { offsetCode } from "../strides.js";
import type { MatmulCall } from "./matmul-call.js";
import { each } from "./team.js";

/** Outputs of a workgroup on both axes, inner slice of a step, edge of the hardware's matrices. */
const tile = 128;
const depth = 32;
const edge = 16;
/** Outputs of a subgroup on both axes; four subgroups make a tile. */
const part = 64;
/** Padding of a row in workgroup memory, in halves, so that rows fall on different banks. */
const padding = 8;
const threads = 128;
/** A thread loads this many halves at once. */
const perLoad = 4;
/** Tiles of M that neighbouring workgroups go through before the next tile of N, so that both operands stay in cache. */
const band = 8;
const subgroupSize = 32;

/**
 * f16 product with f32 sums on the hardware's matrix units: 128 x 128 outputs a workgroup, 64 x 64 a subgroup, slices of 32
 * of the inner axis in workgroup memory, the next slice on its way while one is multiplied.
 *
 * For adapters with subgroups of 32 and 16 x 16 x 16 products f16 -> f32, and operands whose dense axis is a multiple of 4;
 * undefined else. Every 16 x 16 matrix is a variable of its own: arrays of matrices are slow. Twin: matmul's loops.
 */
export function subgroupMatmulWgsl(call: MatmulCall, features: WgslFeatures): WgslKernel | undefined {
  if (!isPossible(call, features)) return undefined;
  const { M, N, K, batch, batchStridesA, batchStridesB, transposeA, transposeB } = call;
  const walk = offsetCode({ shape: batch, strides: [batchStridesA, batchStridesB] }, "batch", "w");
  const [tilesM, tilesN] = [Math.ceil(M / tile), Math.ceil(N / tile)];
  // Rows of workgroup memory lie as in the operand: [edge][k] where K is dense, else [k][edge].
  const a = operand("a", { denseK: !transposeA, isWhole: M % tile === 0 && K % depth === 0 });
  const b = operand("b", { denseK: transposeB, isWhole: N % tile === 0 && K % depth === 0 });
  const step = wgslStep({
    buffers: [
      { name: "a", memory: bufferAt(0), dtype: "f16", access: "read", element: "vec4<f16>" },
      { name: "b", memory: bufferAt(1), dtype: "f16", access: "read", element: "vec4<f16>" },
      { name: "c", memory: bufferAt(2), dtype: "f16", access: "words", element: "f16" },
    ],
    params: { K, aEdge: M, bEdge: N, tilesM, tilesN, ...walk.params },
    threads,
    groups: tilesM * tilesN * sizeOf(batch),
    enable:
      "enable f16;\nenable subgroups;\nenable chromium_experimental_subgroup_matrix;\ndiagnostic(off, chromium.subgroup_matrix_uniformity);\ndiagnostic(off, subgroup_uniformity);",
    declarations: `alias Left = subgroup_matrix_left<f16, ${edge}, ${edge}>;
alias Right = subgroup_matrix_right<f16, ${edge}, ${edge}>;
alias Sum = subgroup_matrix_result<f32, ${edge}, ${edge}>;
var<workgroup> tileA: array<f16, ${a.halves}>;
var<workgroup> tileB: array<f16, ${b.halves}>;
var<workgroup> strip: array<f32, ${4 * edge * part}>;`,
    body: `  let batch = group / (P.tilesM * P.tilesN);
  let inBatch = group % (P.tilesM * P.tilesN);
  let perBand = ${band}u * P.tilesN;
  let firstM = (inBatch / perBand) * ${band}u;
  let bandRows = min(${band}u, P.tilesM - firstM);
  let inBand = inBatch % perBand;
  let aStart = (firstM + inBand % bandRows) * ${tile}u;
  let bStart = (inBand / bandRows) * ${tile}u;
${walk.code}
  let baseA = (${walk.offsets[0] ?? "0u"}) / 4u;
  let baseB = (${walk.offsets[1] ?? "0u"}) / 4u;
  let subgroup = thread / ${subgroupSize}u;
  let partA = (subgroup / 2u) * ${part}u;
  let partB = (subgroup % 2u) * ${part}u;
${each(16, (i) => `  var sum${i >> 2}${i & 3}: Sum;`)}
${a.fetch("0u", "var ")}
${b.fetch("0u", "var ")}
  for (var k0 = 0u; k0 < P.K; k0 += ${depth}u) {
${a.keep}
${b.keep}
    workgroupBarrier();
    let next = k0 + ${depth}u;
    if (next < P.K) {
${a.fetch("next", "")}
${b.fetch("next", "")}
    }
${each(depth / edge, (slice) => multiply(slice * edge, a, b))}
    workgroupBarrier();
  }
${each(4, (i) => storeStrip(i))}`,
  });
  return { steps: [step] };
}

/** Whether the adapter and the operands allow it, and there are enough outputs to be worth a tile of 128. */
function isPossible(call: MatmulCall, { f16, subgroups, subgroupMatrices, maxWorkgroupBytes }: WgslFeatures) {
  const { M, N, K, transposeA, transposeB, dtypes, batchStridesA, batchStridesB } = call;
  const hasUnits =
    f16 &&
    subgroups?.min === subgroupSize &&
    subgroups.max === subgroupSize &&
    maxWorkgroupBytes >= 40 * 1024 &&
    subgroupMatrices.some(
      (shape) =>
        shape.component === "f16" &&
        shape.result === "f32" &&
        [shape.M, shape.N, shape.K].every((n) => n === edge),
    );
  const isDense = (length: number) => length % perLoad === 0;
  return (
    hasUnits &&
    [dtypes.a, dtypes.b, dtypes.c].every((dtype) => dtype === "f16") &&
    isDense(transposeA ? M : K) &&
    isDense(transposeB ? K : N) &&
    [...batchStridesA, ...batchStridesB].every(isDense) &&
    M >= 32
  );
}

/** How one operand gets from memory through registers to workgroup memory. */
function operand(name: "a" | "b", { denseK, isWhole }: { denseK: boolean; isWhole: boolean }) {
  const rowLength = denseK ? depth : tile;
  const rows = denseK ? tile : depth;
  const stride = rowLength + padding;
  const loads = (tile * depth) / perLoad / threads;
  const loadsPerRow = rowLength / perLoad;
  const array = name === "a" ? "tileA" : "tileB";
  // Load i of a thread: vector `flat` of the tile, row by row.
  const flat = (i: number) => `(${i * threads}u + thread)`;
  const row = (i: number) => `(${flat(i)} / ${loadsPerRow}u)`;
  const column = (i: number) => `(${flat(i)} % ${loadsPerRow}u) * ${perLoad}u`;
  const fetch = (k: string, declare: string) =>
    each(loads, (i) => {
      const [atEdge, atK] = denseK
        ? [`${name}Start + ${row(i)}`, `${k} + ${column(i)}`]
        : [`${name}Start + ${column(i)}`, `${k} + ${row(i)}`];
      const offset = denseK ? `(at * P.K + atK) / 4u` : `(atK * P.${name}Edge + at) / 4u`;
      const load = isWhole
        ? `${name}${i} = ${name}[base${name.toUpperCase()} + ${offset}];`
        : `if (at < P.${name}Edge && atK < P.K) { ${name}${i} = ${name}[base${name.toUpperCase()} + ${offset}]; } else { ${name}${i} = vec4<f16>(); }`;
      const begin = declare === "" ? "" : `      var ${name}${i}: vec4<f16>;\n`;
      return `${begin}      { let at = ${atEdge}; let atK = ${atK}; ${load} }`;
    });
  const keep = each(
    loads,
    (i) =>
      `    { let at = ${row(i)} * ${stride}u + ${column(i)}; ${each(
        perLoad,
        (lane) => `${array}[at + ${lane}u] = ${name}${i}.${"xyzw"[lane]};`,
      ).replaceAll("\n", " ")} }`,
  );
  return { halves: rows * stride, stride, denseK, array, fetch, keep };
}

type Operand = ReturnType<typeof operand>;

/** 16 products of 16 x 16 matrices over one slice of the inner axis. */
function multiply(k: number, a: Operand, b: Operand): string {
  const place = ({ denseK, stride }: Operand, base: string, i: number) =>
    denseK ? `(${base} + ${i * edge}u) * ${stride}u + ${k}u` : `${k * stride}u + ${base} + ${i * edge}u`;
  const left = (i: number) =>
    `let left${i} = subgroupMatrixLoad<Left>(&tileA, ${place(a, "partA", i)}, ${!a.denseK}, ${a.stride}u);`;
  const right = (j: number) =>
    `let right${j} = subgroupMatrixLoad<Right>(&tileB, ${place(b, "partB", j)}, ${b.denseK}, ${b.stride}u);`;
  return `    {
${each(4, (i) => `      ${left(i)}\n      ${right(i)}`)}
${each(16, (n) => `      sum${n >> 2}${n & 3} = subgroupMatrixMultiplyAccumulate(left${n >> 2}, right${n & 3}, sum${n >> 2}${n & 3});`)}
    }`;
}

/** Rounds 16 rows of a subgroup's outputs to f16 on their way through workgroup memory. */
function storeStrip(i: number): string {
  const strip = edge * part;
  return `  {
    let base = subgroup * ${strip}u;
${each(4, (j) => `    subgroupMatrixStore(&strip, base + ${j * edge}u, sum${i}${j}, false, ${part}u);`)}
    workgroupBarrier();
    let m0 = aStart + partA + ${i * edge}u;
    let n0 = bStart + partB;
    for (var at = thread % ${subgroupSize}u; at < ${strip}u; at += ${subgroupSize}u) {
      let m = m0 + at / ${part}u;
      let n = n0 + at % ${part}u;
      if (m < P.aEdge && n < P.bEdge) { c[(batch * P.aEdge + m) * P.bEdge + n] = f16(strip[base + at]); }
    }
    workgroupBarrier();
  }`;
}
