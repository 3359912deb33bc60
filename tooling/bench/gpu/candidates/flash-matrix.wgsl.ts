import type { TensorType } from "@heddle/tensor";
import { bufferAt, each, type WgslFeatures, type WgslKernel, wgslStep } from "@heddle/tensor/kernel";
import {
  type FlashParams,
  type FlashShape,
  flashInputs,
  flashShape,
} from "../../../../packages/attention/src/flash-params.ts";
import {
  flashUniforms,
  ruleBuffers,
  ruleFunctions,
  writeBuffer,
} from "../../../../packages/attention/src/kernels/flash.wgsl.ts";
import { tileStates } from "../../../../packages/attention/src/kernels/tile-states.wgsl.ts";

/** Edge of the hardware's matrices, threads of a subgroup. */
const edge = 16;
const lanes = 32;
/** Padding of rows in workgroup memory, in elements, so that rows fall on different banks. */
const halfPad = 8;
const floatPad = 4;
/** Weights may exceed 1 by this power of two before the sums are scaled down: f16 holds them easily. */
const slack = 8;

/** How much a workgroup takes at a time. */
export interface MatrixTile {
  readonly subgroups: 2 | 4 | 8;
  /** Strips of 16 queries of a subgroup. */
  readonly strips: 1 | 2;
  readonly keys: 32 | 64;
}

interface Layout extends MatrixTile {
  readonly headDim: number;
  readonly valueDim: number;
  readonly threads: number;
  /** Queries of a subgroup and of the workgroup. */
  readonly rows: number;
  readonly queries: number;
  /** Strides in workgroup memory, in elements. */
  readonly keyStride: number;
  readonly valueStride: number;
  readonly scoreStride: number;
  readonly weightStride: number;
  readonly stagedHalves: number;
}

function layoutOf(
  { headDim, valueDim }: Pick<FlashShape, "headDim" | "valueDim">,
  { subgroups, strips, keys }: MatrixTile,
): Layout {
  const rows = strips * edge;
  const queries = rows * subgroups;
  const [keyStride, valueStride] = [headDim + halfPad, valueDim + halfPad];
  return {
    headDim,
    valueDim,
    subgroups,
    threads: subgroups * lanes,
    strips,
    keys,
    rows,
    queries,
    keyStride,
    valueStride,
    scoreStride: keys + floatPad,
    weightStride: keys + halfPad,
    stagedHalves: Math.max(queries * keyStride, keys * (keyStride + valueStride)),
  };
}

function bytesOf({ stagedHalves, queries, scoreStride, weightStride }: Layout): number {
  return 2 * stagedHalves + 4 * queries * scoreStride + 2 * queries * weightStride + 4 * queries + 64;
}

/** The tile for a head size: as many queries as registers and workgroup memory hold; undefined where none fits. */
function tileFor(shape: FlashShape, { maxWorkgroupBytes }: WgslFeatures): MatrixTile | undefined {
  const widest = Math.max(shape.headDim, shape.valueDim);
  const tiles: readonly MatrixTile[] = [
    ...(widest <= 64 ? [{ subgroups: 4, strips: 2, keys: 32 } as const] : []),
    { subgroups: 4, strips: 1, keys: 32 },
  ];
  return tiles.find((tile) => bytesOf(layoutOf(shape, tile)) <= maxWorkgroupBytes);
}

/**
 * Forward attention of f16 tensors on the hardware's matrix units, with f32 scores and sums: a workgroup takes 128 queries of one
 * head through tiles of 32 keys, the next tile on its way while one is multiplied. Scores pass through workgroup memory, since the
 * places of a matrix's elements are the hardware's secret; for the same reason sums are scaled down only when a row's maximum has
 * grown by 2^8, which is seldom and exact.
 *
 * A candidate, not part of the package: it compiles, and its numbers are wrong on an H100 (docs/benchmarks/attention.md).
 *
 * For adapters with subgroups of 32 and 16 x 16 x 16 products f16 -> f32, and head sizes that are multiples of 16; undefined
 * else. Twin: `naiveAttention`.
 * @see Dao 2023, FlashAttention-2, arXiv:2307.08691, algorithm 1
 */
export function flashMatrixWgsl(
  { inputs, params }: { readonly inputs: readonly TensorType[]; readonly params: FlashParams },
  features: WgslFeatures,
  wanted?: MatrixTile,
): WgslKernel | undefined {
  const shape = flashShape(inputs);
  const tile = wanted ?? tileFor(shape, features);
  const at = flashInputs(params);
  if (tile === undefined || !hasUnits(features) || at.count + 3 > features.maxBuffers) return undefined;
  if (inputs.slice(0, 3).some(({ dtype }) => dtype !== "f16") || params.countsTiles) return undefined;
  if (shape.headDim % edge !== 0 || shape.valueDim % edge !== 0 || shape.valueDim > 256) return undefined;
  const layout = layoutOf(shape, tile);
  const states = tileStates({ inputs, params, shape }, layout);
  const bias = at.bias === undefined ? undefined : inputs[at.bias]?.shape;
  const tiles = Math.ceil(shape.queryLen / layout.queries);
  const half = (name: string, index: number) =>
    ({ name, memory: bufferAt(index), dtype: "f16", access: "read", element: "vec4<f16>" }) as const;
  const step = wgslStep({
    buffers: [
      half("query", 0),
      half("key", 1),
      half("value", 2),
      ...ruleBuffers(inputs, params),
      ...states.buffers,
      { name: "out", memory: bufferAt(at.count), dtype: "f16", access: "words", element: "f16" },
      writeBuffer("lse", at.count + 1),
    ],
    params: {
      ...flashUniforms(shape, params, bias),
      ...states.params,
      tiles,
      log2Scale: { f32: params.scale * Math.LOG2E },
    },
    threads: layout.threads,
    groups: shape.batch * shape.numHeads * tiles,
    enable:
      "enable f16;\nenable subgroups;\nenable chromium_experimental_subgroup_matrix;\ndiagnostic(off, chromium.subgroup_matrix_uniformity);\ndiagnostic(off, subgroup_uniformity);",
    declarations: `${ruleFunctions(params)}
${states.functions}
${declarations(layout)}`,
    body: body(layout, params),
  });
  return { steps: [...states.steps, step], scratch: states.scratch };
}

function hasUnits({ f16, subgroups: sizes, subgroupMatrices }: WgslFeatures): boolean {
  return (
    f16 &&
    sizes?.min === lanes &&
    sizes.max === lanes &&
    subgroupMatrices.some(
      ({ component, result, M, N, K }) =>
        component === "f16" && result === "f32" && [M, N, K].every((n) => n === edge),
    )
  );
}

function declarations({ stagedHalves, queries, scoreStride, weightStride }: Layout): string {
  return `alias Left = subgroup_matrix_left<f16, ${edge}, ${edge}>;
alias Right = subgroup_matrix_right<f16, ${edge}, ${edge}>;
alias Sum = subgroup_matrix_result<f32, ${edge}, ${edge}>;
var<workgroup> staged: array<f16, ${stagedHalves}>;
var<workgroup> tScore: array<f32, ${queries * scoreStride}>;
var<workgroup> tWeight: array<f16, ${queries * weightStride}>;
var<workgroup> rowFactor: array<f32, ${queries}>;
var<workgroup> grown: u32;`;
}

function body(layout: Layout, params: FlashParams): string {
  const { strips, keys, valueDim, rows, queries, scoreStride, weightStride } = layout;
  const perRow = lanes / rows;
  const sums = each(strips * (valueDim / edge), (n) => `  var sum${n} = Sum();`);
  const sink = params.hasSinks ? `load_sinks(h) * ${Math.LOG2E}` : "-1e30";
  const sinkSum = params.hasSinks ? (perRow === 1 ? "1.0" : "select(0.0, 1.0, part == 0u)") : "0.0";
  return `  let heads = P.batch * P.numHeads;
  let tile = P.tiles - 1u - group / heads; // under causal masks the last tiles have the most work
  let h = group % heads % P.numHeads;
  let b = group % heads / P.numHeads;
  let first = tile * ${queries}u;
  let queryBase = (b * P.numHeads + h) * P.queryLen;
  let keyBase = (b * (P.numHeads / P.group) + h / P.group) * P.keyLen;
  let subgroup = thread / ${lanes}u;
  let lane = thread % ${lanes}u;
  let row = lane % ${rows}u;
  let part = lane / ${rows}u;
  let scoreBase = subgroup * ${rows * scoreStride}u;
  let weightBase = subgroup * ${rows * weightStride}u;
  let i = first + subgroup * ${rows}u + row;
${loadQueries(layout)}
${sums}
  var most = ${sink};
  var total = ${sinkSum};
  if (thread == 0u) { grown = 0u; }
${fetches(layout, "declare")}
  var turn = 0u;
  var keyTile = nextTile(b, h, tile, 0u);
  if (keyTile < P.keyTiles) {
${fetches(layout, "keyTile")}
  }
  while (keyTile < P.keyTiles) {
    turn++;
    let firstKey = keyTile * ${keys}u;
    let isWhole = tileState(b, h, tile, keyTile) == 2u;
    workgroupBarrier();
${fetches(layout, "keep")}
    workgroupBarrier();
    keyTile = nextTile(b, h, tile, keyTile + 1u);
    if (keyTile < P.keyTiles) {
${fetches(layout, "keyTile")}
    }
${scores(layout)}
    workgroupBarrier();
${softmax(layout, params)}
    if (workgroupUniformLoad(&grown) == turn) {
${rescale(layout)}
    }
${addValues(layout)}
  }
  workgroupBarrier();
${perRow === 1 ? "" : `  total += subgroupShuffleXor(total, ${rows}u);`}
  if (part == 0u) {
    rowFactor[subgroup * ${rows}u + row] = select(1.0 / total, 0.0, total == 0.0);
    if (i < P.queryLen) {
      store_lse(queryBase + i, select((most + log2(total)) * ${Math.LN2}, -h_infinity(), total == 0.0));
    }
  }
${storeOut(layout)}`;
}

/** Queries as matrices, which stay in registers. */
function loadQueries({ threads, strips, headDim, queries, keyStride, rows }: Layout): string {
  const perRow = headDim / 4;
  return `  for (var e = thread; e < ${queries * perRow}u; e += ${threads}u) {
    let i = e / ${perRow}u;
    let c = (e % ${perRow}u) * 4u;
    var x = vec4<f16>();
    if (first + i < P.queryLen) { x = query[((queryBase + first + i) * ${headDim}u + c) / 4u]; }
    let at = i * ${keyStride}u + c;
    staged[at] = x.x; staged[at + 1u] = x.y; staged[at + 2u] = x.z; staged[at + 3u] = x.w;
  }
  workgroupBarrier();
${each(
  strips * (headDim / edge),
  (n) =>
    `  let q${n} = subgroupMatrixLoad<Left>(&staged, (subgroup * ${rows}u + ${Math.floor(n / (headDim / edge)) * edge}u) * ${keyStride}u + ${(n % (headDim / edge)) * edge}u, false, ${keyStride}u);`,
)}`;
}

/** A tile of keys and values: from memory to registers, from there to workgroup memory. */
function fetches({ threads, keys, headDim, valueDim, keyStride, valueStride }: Layout, what: string): string {
  const operand = (name: "key" | "value", width: number, stride: number, base: number) => {
    const perRow = width / 4;
    const vectors = keys * perRow;
    return each(Math.ceil(vectors / threads), (n) => {
      const isPartial = (n + 1) * threads > vectors;
      const flat = `(${n * threads}u + thread)`;
      if (what === "declare") return `  var ${name}${n}: vec4<f16>;`;
      if (what === "keep") {
        const target = `${base}u + ${flat} / ${perRow}u * ${stride}u + ${flat} % ${perRow}u * 4u`;
        const stores = ["x", "y", "z", "w"].map((lane, c) => `staged[at + ${c}u] = ${name}${n}.${lane};`);
        return `    ${isPartial ? `if (${flat} < ${vectors}u) ` : ""}{ let at = ${target}; ${stores.join(" ")} }`;
      }
      const at = `${what} * ${keys}u + ${flat} / ${perRow}u`;
      return `    { let j = ${at}; ${name}${n} = vec4<f16>(); if (j < P.keyLen${isPartial ? ` && ${flat} < ${vectors}u` : ""}) { ${name}${n} = ${name}[(keyBase + j) * ${perRow}u + ${flat} % ${perRow}u]; } }`;
    });
  };
  return [
    operand("key", headDim, keyStride, 0),
    operand("value", valueDim, valueStride, keys * keyStride),
  ].join("\n");
}

/** Products of the subgroup's queries and the tile's keys, to workgroup memory. */
function scores({ strips, keys, headDim, keyStride, scoreStride }: Layout): string {
  const slices = headDim / edge;
  return each(keys / edge, (n) =>
    [
      "    {",
      each(strips, (r) => `      var s${r} = Sum();`),
      each(slices, (k) =>
        [
          `      let key_${k} = subgroupMatrixLoad<Right>(&staged, ${n * edge * keyStride + k * edge}u, true, ${keyStride}u);`,
          each(
            strips,
            (r) => `      s${r} = subgroupMatrixMultiplyAccumulate(q${r * slices + k}, key_${k}, s${r});`,
          ),
        ].join("\n"),
      ),
      each(
        strips,
        (r) =>
          `      subgroupMatrixStore(&tScore, scoreBase + ${r * edge * scoreStride + n * edge}u, s${r}, false, ${scoreStride}u);`,
      ),
      "    }",
    ].join("\n"),
  );
}

/** Each thread takes a row, or a half of one: weights against the row's maximum so far. */
function softmax({ keys, rows, scoreStride, weightStride }: Layout, params: FlashParams): string {
  const perRow = lanes / rows;
  const count = keys / perRow;
  // Rows that share a bank take their columns in different orders.
  const column = (n: string) =>
    perRow === 1 ? `(${n} ^ (row >> 3u))` : `((${n} ^ (row >> 3u)) * ${perRow}u + part)`;
  const isPlain = params.softcap === undefined && !params.hasBias;
  const value = (n: number) =>
    isPlain
      ? `tScore[scores + c${n}] * P.log2Scale`
      : `score(b, h, i, firstKey + c${n}, tScore[scores + c${n}]) * ${Math.LOG2E}`;
  return `    {
      let scores = scoreBase + row * ${scoreStride}u;
      let weights = weightBase + row * ${weightStride}u;
${each(count, (n) => `      let c${n} = ${column(`${n}u`)};`)}
      var seen = 0xffffffffu;
      if (!isWhole) {
        seen = 0u;
        for (var n = 0u; n < ${count}u; n++) {
          seen |= select(0u, 1u << n, isSeen(b, h, i, firstKey + ${column("n")}));
        }
      }
${each(count, (n) => `      var w${n} = select(-1e30, ${value(n)}, (seen & ${2 ** n}u) != 0u);`)}
      var peak = w0;
${each(count - 1, (n) => `      peak = max(peak, w${n + 1});`)}
${perRow === 1 ? "" : `      peak = max(peak, subgroupShuffleXor(peak, ${rows}u));`}
      let grows = peak > most + ${slack}.0;
      let next = select(most, peak, grows);
      let factor = exp2(most - next);
      if (grows && most > -1e30) { grown = turn; }
      most = next;
      let base = select(next, 0.0, next <= -1e30);
      var sum = 0.0;
${each(count, (n) => `      w${n} = exp2(w${n} - base); sum += w${n}; tWeight[weights + c${n}] = f16(w${n});`)}
      total = total * factor + sum;
      if (part == 0u) { rowFactor[subgroup * ${rows}u + row] = factor; }
    }`;
}

/** Goes over the sums in chunks as wide as the score tile: `each` chunk is stored there, `work` runs, and it may be loaded back. */
function inChunks(
  layout: Layout,
  work: (chunk: { from: number; width: number }) => string,
  loadsBack: boolean,
): string {
  const { strips, keys, valueDim, scoreStride } = layout;
  const matrices = valueDim / edge;
  const perChunk = keys / edge;
  return each(Math.ceil(matrices / perChunk), (chunk) => {
    const own = Array.from({ length: Math.min(perChunk, matrices - chunk * perChunk) }, (_, n) => n);
    const place = (r: number, n: number) => `scoreBase + ${r * edge * scoreStride + n * edge}u`;
    const every = (line: (sum: string, at: string) => string) =>
      each(strips, (r) =>
        own.map((n) => line(`sum${r * matrices + chunk * perChunk + n}`, place(r, n))).join("\n"),
      );
    return [
      every((sum, at) => `      subgroupMatrixStore(&tScore, ${at}, ${sum}, false, ${scoreStride}u);`),
      "      workgroupBarrier();",
      work({ from: chunk * keys, width: own.length * edge }),
      "      workgroupBarrier();",
      loadsBack
        ? `${every((sum, at) => `      ${sum} = subgroupMatrixLoad<Sum>(&tScore, ${at}, false, ${scoreStride}u);`)}
      workgroupBarrier();`
        : "",
    ].join("\n");
  });
}

/** Multiplies the sums of each row by its factor. */
function rescale(layout: Layout): string {
  const { rows, scoreStride } = layout;
  return inChunks(
    layout,
    ({ width }) => `      for (var e = lane; e < ${rows * width}u; e += ${lanes}u) {
        let i = e / ${width}u;
        tScore[scoreBase + i * ${scoreStride}u + e % ${width}u] *= rowFactor[subgroup * ${rows}u + i];
      }`,
    true,
  );
}

/** sum += weights x values. */
function addValues({ strips, keys, valueDim, keyStride, valueStride, weightStride }: Layout): string {
  const matrices = valueDim / edge;
  return each(keys / edge, (k) =>
    [
      "    {",
      each(
        strips,
        (r) =>
          `      let p${r} = subgroupMatrixLoad<Left>(&tWeight, weightBase + ${r * edge * weightStride + k * edge}u, false, ${weightStride}u);`,
      ),
      each(matrices, (d) =>
        [
          `      let v${d} = subgroupMatrixLoad<Right>(&staged, ${keys * keyStride + k * edge * valueStride + d * edge}u, false, ${valueStride}u);`,
          each(
            strips,
            (r) =>
              `      sum${r * matrices + d} = subgroupMatrixMultiplyAccumulate(p${r}, v${d}, sum${r * matrices + d});`,
          ),
        ].join("\n"),
      ),
      "    }",
    ].join("\n"),
  );
}

function storeOut(layout: Layout): string {
  const { rows, scoreStride, valueDim } = layout;
  return inChunks(
    layout,
    ({ from, width }) => `      for (var e = lane; e < ${rows * width}u; e += ${lanes}u) {
        let i = subgroup * ${rows}u + e / ${width}u;
        let c = e % ${width}u;
        if (first + i < P.queryLen) {
          out[(queryBase + first + i) * ${valueDim}u + ${from}u + c] =
            f16(tScore[scoreBase + e / ${width}u * ${scoreStride}u + c] * rowFactor[i]);
        }
      }`,
    false,
  );
}
