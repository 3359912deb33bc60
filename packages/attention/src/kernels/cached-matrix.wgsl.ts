import { matrixUnitOf, type WgslFeatures, type WgslKernel, wgslStep } from "@heddle/tensor/kernel";
import { cellFunction } from "./cached-rules.wgsl.js";
import {
  eachRun,
  type RowTile,
  rowsOf,
  rowTileOf,
  rowVector,
  runBytes,
  runDeclarations,
  shareKeys,
} from "./cached-runs.wgsl.js";
import type { DecodeCall } from "./decode.wgsl.js";
import {
  fetchRows,
  halvesBuffer,
  type MatrixAttention,
  type MatrixLayout,
  type MatrixTile,
  matrixEnd,
  matrixLayout,
  matrixLayoutFor,
  matrixMemory,
  matrixStart,
  matrixStep,
} from "./matrix-attention.wgsl.js";

/**
 * Cached attention of many rows in f16 on matrix units: the tiles of `flashMatrixWgsl`, the rows of `cachedPrefillWgsl`.
 *
 * For 64 rows and more of f16 over f16 caches, head sizes that are multiples of 16 up to 128 and scores without biases; undefined
 * else. Twin: the reference of `cachedAttention`.
 * @see Dao 2023, FlashAttention-2, arXiv:2307.08691, algorithm 1
 */
export function cachedMatrixWgsl(
  call: DecodeCall,
  features: WgslFeatures,
  wanted?: MatrixTile,
): WgslKernel | undefined {
  const { params, batch, numHeads, queryLen, headDim, valueDim, dtypes } = call;
  const unit = matrixUnitOf(features);
  const areHalves = Object.values(dtypes).every((dtype) => dtype === "f16");
  if (unit === undefined || !shareKeys(call) || !areHalves) return undefined;
  const room = features.maxWorkgroupBytes - runBytes(128);
  const layout = wanted
    ? matrixLayout({ headDim, valueDim }, wanted)
    : matrixLayoutFor({ headDim, valueDim }, room);
  if (layout === undefined || call.buffers.length + 1 > features.maxBuffers) return undefined;
  const tile = rowTileOf(call, layout.queries, 8);
  const kernel = { unit, layout, ...accesses(call, layout, tile) };
  const step = wgslStep({
    buffers: [...call.buffers, halvesBuffer("out", params.inputs.length, "words")],
    params: {
      ...call.uniforms,
      rows: batch * queryLen,
      rowTiles: tile.rowTiles,
      log2Scale: { f32: params.scale * Math.LOG2E },
    },
    threads: layout.threads,
    groups: tile.rowTiles * (numHeads / tile.heads),
    enable: unit.directives,
    declarations: `${cellFunction(params)}
${runDeclarations(params, tile)}
${matrixMemory(kernel)}`,
    body: body(kernel, numHeads, tile),
  });
  return { steps: [step] };
}

/** Rows of one token each, or of a few, and the rows of their slots in the stores. */
function accesses(
  { params, headDim, valueDim }: DecodeCall,
  layout: MatrixLayout,
  tile: RowTile,
): Omit<MatrixAttention, "unit" | "layout"> {
  const stored = { key: "key", value: params.valueDim === undefined ? "value" : "key" } as const;
  const width = { key: headDim, value: params.valueDim === undefined ? valueDim : headDim };
  const capped = (product: string) => `P.softcap * h_tanh(${product} * P.scale / P.softcap) * ${Math.LOG2E}`;
  return {
    query: (m, c) => `x = query[${rowVector(tile, { m, c, width: layout.headDim })}];`,
    row: (kind, { target, j, c, limit }) =>
      // No branches, so that a thread's loads are under way together.
      `let stored = cell(u32(run.slot), head, min(${j}, ${limit} - 1u)); ${target} = ${stored[kind]}[u32(max(stored, 0)) * ${width[kind] / 8}u + ${c}]; ${target} = select(vec4<u32>(), ${target}, stored >= 0 && ${j} < ${limit});`,
    seen: (j) => `(mySlot == run.slot && ${j} >= myBegin && ${j} < myEnd)`,
    ...(params.softcap === undefined ? {} : { score: (_, product) => capped(product) }),
    ...(params.inputs.includes("sinks")
      ? { sink: `load_sinks(h0 + mine % ${tile.heads}u) * ${Math.LOG2E}` }
      : {}),
    out: (m, c) => `if (${m} / ${tile.heads}u < rowCount) {
      out[${rowVector(tile, { m, c, width: layout.valueDim })}] = select(x, vec4<u32>(), tSlot[${m} / ${tile.heads}u] < 0);
    }`,
  };
}

function body(kernel: MatrixAttention, numHeads: number, tile: RowTile): string {
  const { keys } = kernel.layout;
  const ahead = `    if (firstKey + ${keys}u < run.end) {
${fetchRows(kernel, "key", { first: `(firstKey + ${keys}u)`, limit: "run.end" })}
    }`;
  return `${rowsOf(numHeads, tile)}
${matrixStart(kernel)}
  let mySlot = tSlot[mine / ${tile.heads}u];
  let myBegin = tBegin[mine / ${tile.heads}u];
  let myEnd = tEnd[mine / ${tile.heads}u];
${eachRun(`${fetchRows(kernel, "key", { first: "run.begin", limit: "run.end" })}
    for (var firstKey = run.begin; firstKey < run.end; firstKey += ${keys}u) {
      let isWhole = runCount == 1u && run.allBegin <= firstKey && firstKey + ${keys}u <= run.allEnd;
${matrixStep(kernel, "run.end", ahead)}
    }`)}
${matrixEnd(kernel)}`;
}
