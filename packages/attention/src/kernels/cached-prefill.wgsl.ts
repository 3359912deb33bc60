import { each, type WgslFeatures, type WgslKernel, wgslStep } from "@heddle/tensor/kernel";
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
import { type DecodeCall, outBuffer, storePair } from "./decode.wgsl.js";
import { threads } from "./flash.wgsl.js";
import {
  addValues,
  bytesOf,
  keyThreads,
  type Layout,
  layoutOf,
  queryThreads,
  scores,
  tileMemory,
  weights,
} from "./flash-forward.wgsl.js";
import { eightFunctions } from "./stored-eight.wgsl.js";

/**
 * Cached attention of many rows, as prompts have: a workgroup takes neighbouring rows of a batch, and the query heads of one kv
 * head, through tiles of the keys of their slot. Rows of several slots are taken slot by slot.
 *
 * For 64 rows and more, head sizes that are multiples of 8, scores without biases and caches that do not round; undefined else. Twin: the reference of
 * `cachedAttention`.
 * @see Dao 2023, FlashAttention-2, arXiv:2307.08691, algorithm 1
 */
export function cachedPrefillWgsl(call: DecodeCall, features: WgslFeatures): WgslKernel | undefined {
  const { params, batch, numHeads, queryLen, headDim, valueDim, dtypes } = call;
  const fits = headDim % 8 === 0 && valueDim % 8 === 0 && call.buffers.length + 1 <= features.maxBuffers;
  if (!shareKeys(call) || !fits) return undefined;
  const layout = ([4, 2, 1] as const)
    .map((queries) => layoutOf({ headDim, valueDim }, { queries, keys: 4 }))
    .find((choice) => bytesOf(choice) + runBytes(choice.tile.queries) <= features.maxWorkgroupBytes);
  if (layout === undefined) return undefined;
  const tile = rowTileOf(call, layout.tile.queries);
  const step = wgslStep({
    buffers: [...call.buffers, outBuffer(call)],
    params: { ...call.uniforms, rows: batch * queryLen, rowTiles: tile.rowTiles },
    threads,
    groups: tile.rowTiles * (numHeads / tile.heads),
    declarations: `${cellFunction(params)}
${eightFunctions(params, { headDim, valueDim, dtypes })}
${tileMemory(layout)}
${runDeclarations(params, tile)}
var<private> slotNow: i32;
fn isSeen(b: u32, h: u32, i: u32, j: u32) -> bool {
  let r = i / ${tile.heads}u;
  return tSlot[r] == slotNow && j >= tBegin[r] && j < tEnd[r];
}
fn score(b: u32, h: u32, i: u32, j: u32, product: f32) -> f32 {
  let value = product * P.scale;
  return ${params.softcap === undefined ? "value" : "P.softcap * h_tanh(value / P.softcap)"};
}`,
    body: body(call, layout, tile),
  });
  return { steps: [step] };
}

function body(call: DecodeCall, layout: Layout, rowTile: RowTile): string {
  const { params, headDim, valueDim, numHeads } = call;
  const { heads } = rowTile;
  const { tile, queries, headVectors, valueVectors, rowStride } = layout;
  const columns = Math.ceil(valueVectors / keyThreads);
  const query = (r: number) => `(tq + ${r * queryThreads}u)`;
  const sums = (line: (name: string, r: number, n: number) => string) =>
    each(queries, (r) => each(columns, (n) => line(`sum${r}_${n}`, r, n)));
  const sink = (r: number) => `load_sinks(h0 + ${query(r)} % ${heads}u)`;
  const hasSinks = params.inputs.includes("sinks");
  const load = (what: "key" | "value", width: number) => {
    const read = what === "key" ? "keyEight(u32(row), j, 0u, 0u, c)" : "valueEight(u32(row), c)";
    return `      for (var e = thread; e < ${(tile.keys * width) / 8}u; e += ${threads}u) {
        let j = firstKey + e / ${width / 8}u;
        let c = e % ${width / 8}u;
        var x = Eight(vec4f(), vec4f());
        if (j < run.end) {
          let row = cell(u32(run.slot), head, j);
          if (row >= 0) { x = ${read}; }
        }
        let at = e / ${width / 8}u * ${rowStride}u + 2u * c;
        tRows[at] = x.low;
        tRows[at + 1u] = x.high;
      }`;
  };
  return `${rowsOf(numHeads, rowTile)}
  let tq = thread / ${keyThreads}u;
  let tk = thread % ${keyThreads}u;
  let first = 0u;
  let b = 0u;
  let h = 0u;
  for (var e = thread; e < ${(tile.queries * headDim) / 8}u; e += ${threads}u) {
    let m = e / ${headDim / 8}u;
    let c = e % ${headDim / 8}u;
    let x = queryEight(${rowVector(rowTile, { m: "m", c: "c", width: headDim })});
    tQuery[m * ${headVectors + 1}u + 2u * c] = x.low;
    tQuery[m * ${headVectors + 1}u + 2u * c + 1u] = x.high;
  }
${sums((name) => `  var ${name} = vec4f();`)}
${each(queries, (r) => `  var most${r} = ${hasSinks ? sink(r) : "-1e30"};\n  var total${r} = ${hasSinks ? "select(0.0, 1.0, tk == 0u)" : "0.0"};`)}
${eachRun(`    slotNow = run.slot;
    for (var firstKey = run.begin; firstKey < run.end; firstKey += ${tile.keys}u) {
      let isWhole = runCount == 1u && run.allBegin <= firstKey && firstKey + ${tile.keys}u <= run.allEnd;
      workgroupBarrier();
${load("key", headDim)}
      workgroupBarrier();
${scores(layout)}
      workgroupBarrier();
${weights(layout, sums)}
${load("value", valueDim)}
      workgroupBarrier();
${addValues(layout, columns)}
    }`)}
  workgroupBarrier();
${each(queries, (r) => `  tMost[${query(r)} * ${keyThreads}u + tk] = total${r};`)}
  workgroupBarrier();
${each(
  queries,
  (r) => `  if (${query(r)} / ${heads}u < rowCount) {
    let m = ${query(r)};
    var total = 0.0;
    for (var k = 0u; k < ${keyThreads}u; k++) { total += tMost[m * ${keyThreads}u + k]; }
    let factor = select(1.0 / total, 0.0, total == 0.0 || tSlot[m / ${heads}u] < 0);
    let row = firstRow + m / ${heads}u;
    let base = ((row / P.queryLen * P.numHeads + h0 + m % ${heads}u) * P.queryLen + row % P.queryLen) * ${valueDim}u;
${each(columns, (n) => storeFour(call, { value: `sum${r}_${n} * factor`, vector: `tk + ${n * keyThreads}u`, vectors: valueVectors }))}
  }`,
)}`;
}

/** Stores a vector of four features of a row. */
function storeFour(
  call: DecodeCall,
  { value, vector, vectors }: { value: string; vector: string; vectors: number },
): string {
  return `    if (${vector} < ${vectors}u) { let x = ${value}; let at = base + 4u * (${vector});
${storePair(call, { at: "at", value: "x.xy" })}
${storePair(call, { at: "at + 2u", value: "x.zw" })} }`;
}
