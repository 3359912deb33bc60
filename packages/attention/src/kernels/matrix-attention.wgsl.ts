import {
  type BufferUse,
  bufferAt,
  each,
  elementType,
  type MatrixUnit,
  matrixEdge,
  subgroupSize,
} from "@heddle/tensor/kernel";

/** Halves of an element of workgroup memory. */
const lanes = 8;
/** Weights may exceed 1 by this power of two before the sums are scaled down: f16 holds them easily. */
const slack = 8;

/** How much a workgroup takes at a time. */
export interface MatrixTile {
  readonly subgroups: 2 | 4 | 8;
  /** Strips of 16 queries of a subgroup. */
  readonly strips: 1 | 2;
  readonly keys: 32 | 64;
}

/** Where things lie, in elements of 8 halves or 4 floats. */
export interface MatrixLayout extends MatrixTile {
  readonly headDim: number;
  readonly valueDim: number;
  readonly threads: number;
  /** Queries of a subgroup and of the workgroup. */
  readonly rows: number;
  readonly queries: number;
  /** Threads that share a query's scores, and how many each has. */
  readonly perRow: number;
  readonly count: number;
  /** Rows of queries, of keys or values, of scores: an element more than they need, so that they fall on different banks. */
  readonly queryStride: number;
  readonly keyStride: number;
  readonly valueStride: number;
  readonly scoreStride: number;
  /** Where scores begin, behind keys or values; and the end. */
  readonly scoreStart: number;
  readonly elements: number;
}

/** Lays a tile out; undefined where threads would have less than a whole matrix of scores. */
export function matrixLayout(
  { headDim, valueDim }: { readonly headDim: number; readonly valueDim: number },
  { subgroups, strips, keys }: MatrixTile,
): MatrixLayout | undefined {
  const rows = strips * matrixEdge;
  const queries = rows * subgroups;
  const perRow = subgroupSize / rows;
  const count = keys / perRow;
  if (count < 32) return undefined;
  const [keyStride, valueStride] = [headDim / lanes + 1, valueDim / lanes + 1];
  const scoreStride = keys / 4 + 1;
  const scoreStart = keys * Math.max(keyStride, valueStride);
  return {
    headDim,
    valueDim,
    subgroups,
    threads: subgroups * subgroupSize,
    strips,
    keys,
    rows,
    queries,
    perRow,
    count,
    queryStride: keyStride,
    keyStride,
    valueStride,
    scoreStride,
    scoreStart,
    elements: Math.max(scoreStart + queries * scoreStride, queries * keyStride),
  };
}

/** As many queries as registers and workgroup memory hold. */
export function matrixLayoutFor(
  sizes: { readonly headDim: number; readonly valueDim: number },
  maxWorkgroupBytes: number,
): MatrixLayout | undefined {
  const widest = Math.max(sizes.headDim, sizes.valueDim);
  const strips = widest <= 64 ? 2 : 1;
  const isWhole = [sizes.headDim, sizes.valueDim].every((width) => width % matrixEdge === 0 && width > 0);
  if (!isWhole || widest > 128) return undefined;
  // Fewer keys at a time leave room for more workgroups on a processor: twice as fast on an H200 as 64 of them.
  const keys = strips === 2 ? 32 : 64;
  return ([4, 2] as const)
    .flatMap((subgroups) => matrixLayout(sizes, { subgroups, strips, keys }) ?? [])
    .find(({ elements }) => elements * 16 + 1024 <= maxWorkgroupBytes);
}

/** What differs between kernels: how rows are found, which pairs count, and where results go. */
export interface MatrixAttention {
  readonly unit: MatrixUnit;
  readonly layout: MatrixLayout;
  /** Statement that sets `x` (vec4<u32>, zeros before) to the halves from 8 c on of the tile's query m. */
  query(m: string, c: string): string;
  /** Statements that set `target` to the halves from 8 c on of key or value j, from `limit` on to zeros; without branches. */
  row(
    kind: "key" | "value",
    at: { readonly target: string; readonly j: string; readonly c: string; readonly limit: string },
  ): string;
  /** Whether the thread's query sees key j. */
  seen(j: string): string;
  /** Score in units of log 2 of the thread's query and key j, where it is more than the product times P.log2Scale. */
  score?(j: string, product: string): string;
  /** Score of the sink in units of log 2. */
  readonly sink?: string;
  /** Statements that store the halves from 8 c on of the tile's query m, a vec4<u32> `x`. */
  out(m: string, c: string): string;
  /** Statements of one thread a query, which has the largest score `most` (log 2) and the sum `total`. */
  readonly finish?: string;
}

/** Halves of a tensor as elements of workgroup memory. */
export function halvesBuffer(name: string, index: number, access: "read" | "words" = "read"): BufferUse {
  return { name, memory: bufferAt(index), dtype: "f16", access, element: elementType[lanes] };
}

/** Workgroup memory. All matrices lie in one array of vec4<u32>, whose places the hardware can rely on to be aligned. */
export function matrixMemory({ unit, layout }: MatrixAttention): string {
  return `var<workgroup> tiles: array<${elementType[lanes]}, ${layout.elements}>;
var<workgroup> grown: u32;
${unit.declarations(lanes)}`;
}

/** Statements before the tiles: queries as matrices, sums, and the running softmax of the thread's query. */
export function matrixStart(kernel: MatrixAttention): string {
  const { unit, layout } = kernel;
  const { threads, strips, rows, queries, headDim, valueDim, queryStride, perRow } = layout;
  const perQuery = headDim / lanes;
  const slices = headDim / matrixEdge;
  return `${unit.begin}
  let lane = thread % ${subgroupSize}u;
  let row = lane % ${rows}u;
  let part = lane / ${rows}u;
  let mine = subgroup * ${rows}u + row; // the thread's query
  let scoreBase = ${layout.scoreStart}u + subgroup * ${rows * layout.scoreStride}u;
  let own = scoreBase + row * ${layout.scoreStride}u + part * ${layout.count / 4}u; // its scores
  if (thread == 0u) { grown = 0u; }
  for (var e = thread; e < ${queries * perQuery}u; e += ${threads}u) {
    let m = e / ${perQuery}u;
    let c = e % ${perQuery}u;
    var x = vec4<u32>();
    ${kernel.query("m", "c")}
    tiles[m * ${queryStride}u + c] = x;
  }
  workgroupBarrier();
${each(strips * slices, (n) => {
  const at = `(subgroup * ${rows}u + ${Math.floor(n / slices) * matrixEdge}u) * ${queryStride}u + ${(n % slices) * 2}u`;
  return `  let q${n} = ${unit.load("Left", "row", { at, stride: `${queryStride}u` })};`;
})}
  var zero: Sum;
${each(strips * (valueDim / matrixEdge), (n) => `  var sum${n}: Sum;`)}
  var most = ${kernel.sink ?? "-1e30"};
  var total = ${kernel.sink === undefined ? "0.0" : perRow === 1 ? "1.0" : "select(0.0, 1.0, part == 0u)"};
  var factor = 1.0;
  var turn = 0u;
${declareRows(layout, "key")}
${declareRows(layout, "value")}`;
}

const widthOf = (layout: MatrixLayout, kind: "key" | "value") =>
  kind === "key" ? layout.headDim : layout.valueDim;

/** How many elements of a tile of keys or values each thread moves. */
function shareOf(layout: MatrixLayout, kind: "key" | "value") {
  const perRow = widthOf(layout, kind) / lanes;
  const vectors = layout.keys * perRow;
  return { perRow, vectors, loads: Math.ceil(vectors / layout.threads) };
}

function declareRows(layout: MatrixLayout, kind: "key" | "value"): string {
  return each(shareOf(layout, kind).loads, (n) => `  var ${kind}Part${n}: vec4<u32>;`);
}

/** Statements that read the rows from `first` on into registers; those from `limit` on become zeros. */
export function fetchRows(
  kernel: MatrixAttention,
  kind: "key" | "value",
  { first, limit }: { readonly first: string; readonly limit: string },
): string {
  const { layout } = kernel;
  const { perRow, vectors, loads } = shareOf(layout, kind);
  return each(loads, (n) => {
    const flat = `(thread + ${n * layout.threads}u)`;
    const isPartial = (n + 1) * layout.threads > vectors;
    const target = `${kind}Part${n}`;
    return `    { let j = ${first} + ${flat} / ${perRow}u;
      ${isPartial ? `if (${flat} < ${vectors}u) { ` : ""}${kernel.row(kind, { target, j: "j", c: `${flat} % ${perRow}u`, limit })}${isPartial ? " }" : ""} }`;
  });
}

/** Statements that put them into workgroup memory. */
function keepRows(layout: MatrixLayout, kind: "key" | "value"): string {
  const { perRow, vectors, loads } = shareOf(layout, kind);
  const stride = kind === "key" ? layout.keyStride : layout.valueStride;
  return each(loads, (n) => {
    const flat = `(thread + ${n * layout.threads}u)`;
    const isPartial = (n + 1) * layout.threads > vectors;
    return `    ${isPartial ? `if (${flat} < ${vectors}u) ` : ""}{ tiles[${flat} / ${perRow}u * ${stride}u + ${flat} % ${perRow}u] = ${kind}Part${n}; }`;
  });
}

/**
 * Statements for one tile of keys, whose rows are in registers: `firstKey`; `isWhole`, uniform, where every query sees every key;
 * keys from `limit` on do not exist. `ahead` reads the next tile's keys.
 */
export function matrixStep(kernel: MatrixAttention, limit: string, ahead: string): string {
  const { layout } = kernel;
  return `    turn++;
    workgroupBarrier();
${keepRows(layout, "key")}
    workgroupBarrier();
${fetchRows(kernel, "value", { first: "firstKey", limit })}
${scores(kernel)}
    workgroupBarrier();
${keepRows(layout, "value")}
${ahead}
${softmax(kernel)}
    if (workgroupUniformLoad(&grown) == turn) {
${rescale(kernel)}
    }
${addValues(kernel)}`;
}

/** Products of the subgroup's queries and the tile's keys, to workgroup memory. */
function scores({ unit, layout }: MatrixAttention): string {
  const { strips, keys, headDim, keyStride, scoreStride } = layout;
  const slices = headDim / matrixEdge;
  const product = (k: number, r: number) =>
    `      let s${r}_${k} = ${unit.multiplyAdd(`q${r * slices + k}`, `key${k}`, k === 0 ? "zero" : `s${r}_${k - 1}`)};`;
  return each(
    keys / matrixEdge,
    (n) => `    {
${each(slices, (k) => {
  const from = { at: `${n * matrixEdge * keyStride + 2 * k}u`, stride: `${keyStride}u` };
  return `      let key${k} = ${unit.load("Right", "col", from)};
${each(strips, (r) => product(k, r))}`;
})}
${each(strips, (r) => {
  const to = { at: `scoreBase + ${r * matrixEdge * scoreStride + 4 * n}u`, stride: `${scoreStride}u` };
  return `      ${unit.store(`s${r}_${slices - 1}`, to)}`;
})}
    }`,
  );
}

/**
 * The thread's scores become weights against its query's maximum so far, in place: eight halves where the first four of eight
 * floats were. Scores that are more than products are written back before.
 */
function softmax(kernel: MatrixAttention): string {
  const { unit, layout } = kernel;
  const { perRow, count, rows } = layout;
  const product = "bitcast<vec4f>(tiles[own + v])";
  const j = (lane: number) => `ownKey + 4u * v + ${lane}u`;
  const scored = (lane: number) =>
    kernel.score === undefined ? `x[${lane}] * P.log2Scale` : kernel.score(j(lane), `x[${lane}]`);
  const masked = (lane: number) => `select(-1e30, ${scored(lane)}, isWhole || ${kernel.seen(j(lane))})`;
  const transform = `      for (var v = 0u; v < ${count / 4}u; v++) {
        let x = ${product};
        let s = vec4f(${[0, 1, 2, 3].map(masked).join(",\n          ")});
        tiles[own + v] = bitcast<vec4<u32>>(s);
        peaks = max(peaks, s);
      }`;
  const plain = `      for (var v = 0u; v < ${count / 4}u; v++) { peaks = max(peaks, ${product} * P.log2Scale); }`;
  const weight = (v: string) => `exp2(bitcast<vec4f>(tiles[own + ${v}]) * unit - base)`;
  return `    {
      let ownKey = firstKey + part * ${count}u;
      var peaks = vec4f(-1e30);
${kernel.score === undefined ? `      let unit = select(1.0, P.log2Scale, isWhole);\n      if (isWhole) {\n${plain}\n      } else {\n${transform}\n      }` : `      let unit = 1.0;\n${transform}`}
      var peak = max(max(peaks.x, peaks.y), max(peaks.z, peaks.w));
${perRow === 1 ? "" : `      peak = max(peak, ${unit.exchange("peak", rows)});`}
      let grows = peak > most + ${slack}.0;
      let next = select(most, peak, grows);
      factor = exp2(most - next);
      if (grows && most > -1e30) { grown = turn; }
      most = next;
      let base = select(next, 0.0, next <= -1e30);
      var sums = vec4f();
      for (var v = 0u; v < ${count / 8}u; v++) {
        let a = ${weight("2u * v")};
        let c = ${weight("2u * v + 1u")};
        sums += a + c;
        tiles[own + v] = vec4<u32>(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(c.xy), pack2x16float(c.zw));
      }
      total = total * factor + (sums.x + sums.y) + (sums.z + sums.w);
    }`;
}

/** Multiplies the sums of each query by its factor, in the places that weights left free: seldom. */
function rescale({ unit, layout }: MatrixAttention): string {
  const { strips, valueDim, scoreStride, perRow, count } = layout;
  const matrices = valueDim / matrixEdge;
  const free = count / 32;
  // Columns of scores where a matrix fits, first those of the first thread of a query.
  const slots = Array.from(
    { length: perRow * free },
    (_, q) => Math.floor(q / free) * (count / 4) + count / 8 + 4 * (q % free),
  );
  const chunks = Math.ceil(matrices / slots.length);
  return each(chunks, (chunk) => {
    const moves = slots.flatMap((column, q) => {
      const d = chunk * slots.length + q;
      if (d >= matrices) return [];
      return Array.from({ length: strips }, (_, r) => ({
        sum: `sum${r * matrices + d}`,
        place: { at: `scoreBase + ${r * matrixEdge * scoreStride + column}u`, stride: `${scoreStride}u` },
      }));
    });
    return `${moves.map(({ sum, place }) => `      ${unit.store(sum, place)}`).join("\n")}
      workgroupBarrier();
      for (var v = ${count / 8}u; v < ${count / 4}u; v++) {
        tiles[own + v] = bitcast<vec4<u32>>(bitcast<vec4f>(tiles[own + v]) * factor);
      }
      workgroupBarrier();
${moves.map(({ sum, place }) => `      ${sum} = ${unit.load("Sum", "row", place)};`).join("\n")}
      workgroupBarrier();`;
  });
}

/** sum += weights x values. */
function addValues({ unit, layout }: MatrixAttention): string {
  const { strips, keys, valueDim, valueStride, scoreStride, count } = layout;
  const matrices = valueDim / matrixEdge;
  const column = (k: number) => {
    const key = k * matrixEdge;
    return Math.floor(key / count) * (count / 4) + (key % count) / lanes;
  };
  return each(
    keys / matrixEdge,
    (k) => `    {
${each(strips, (r) => {
  const from = {
    at: `scoreBase + ${r * matrixEdge * scoreStride + column(k)}u`,
    stride: `${scoreStride}u`,
  };
  return `      let p${r} = ${unit.load("Left", "row", from)};`;
})}
${each(matrices, (d) => {
  const from = { at: `${k * matrixEdge * valueStride + 2 * d}u`, stride: `${valueStride}u` };
  return `      let v${d} = ${unit.load("Right", "row", from)};
${each(strips, (r) => `      sum${r * matrices + d} = ${unit.multiplyAdd(`p${r}`, `v${d}`, `sum${r * matrices + d}`)};`)}`;
})}
    }`,
  );
}

/** Statements behind the tiles: sums over totals, through workgroup memory. */
export function matrixEnd(kernel: MatrixAttention): string {
  const { unit, layout } = kernel;
  const { strips, keys, rows, valueDim, scoreStride, perRow } = layout;
  const matrices = valueDim / matrixEdge;
  const perChunk = keys / matrixEdge;
  const column = (at: string) => `bitcast<vec4f>(tiles[start + ${at}])`;
  return `  workgroupBarrier();
${perRow === 1 ? "" : `  total += ${unit.exchange("total", rows)};`}
  if (part == 0u) {
    tiles[own + ${keys / 4}u] = vec4<u32>(bitcast<u32>(select(1.0 / total, 0.0, total == 0.0)), 0u, 0u, 0u);
${kernel.finish ?? ""}
  }
${each(Math.ceil(matrices / perChunk), (chunk) => {
  const held = Math.min(perChunk, matrices - chunk * perChunk);
  const width = (held * matrixEdge) / lanes;
  const stores = each(strips, (r) =>
    each(held, (d) => {
      const to = { at: `scoreBase + ${r * matrixEdge * scoreStride + 4 * d}u`, stride: `${scoreStride}u` };
      return `  ${unit.store(`sum${r * matrices + chunk * perChunk + d}`, to)}`;
    }),
  );
  return `${stores}
  workgroupBarrier();
  for (var e = lane; e < ${rows * width}u; e += ${subgroupSize}u) {
    let start = scoreBase + e / ${width}u * ${scoreStride}u;
    let share = bitcast<f32>(tiles[start + ${keys / 4}u].x);
    let a = ${column(`e % ${width}u * 2u`)} * share;
    let b = ${column(`e % ${width}u * 2u + 1u`)} * share;
    let x = vec4<u32>(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw));
    let m = subgroup * ${rows}u + e / ${width}u;
    ${kernel.out("m", `(${(chunk * perChunk * matrixEdge) / lanes}u + e % ${width}u)`)}
  }
${chunk + 1 < Math.ceil(matrices / perChunk) ? "  workgroupBarrier();" : ""}`;
})}`;
}
