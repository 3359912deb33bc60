import type { DType } from "@heddle/tensor";
import {
  type BufferUse,
  bufferAt,
  each,
  encodeBits,
  type StepParam,
  scratchAt,
  type WgslFeatures,
  type WgslKernel,
  type WgslStep,
  wgslStep,
} from "@heddle/tensor/kernel";
import type { CachedAttentionParams, CachedInput } from "../cached-params.js";
import { cellFunction, keyRange, scoreText } from "./cached-rules.wgsl.js";
import { eightFunctions } from "./stored-eight.wgsl.js";

/** Threads of a workgroup: of a split, and of one that goes through all keys of a short cache alone. */
const threads = 128;
const aloneThreads = 256;
/** With no more positions than this one workgroup is as fast as splits that have to be joined. */
const aloneReach = 1024;
/** With no more query heads in all each has workgroups of its own. */
const fewHeads = 128;
/** Features that a thread reads at once. */
const eight = 8;
/** Keys that a split has at least, and splits of a row at most. */
const keysOfSplit = 128;
const maxSplits = 64;

/** A call of cached attention as its kernel needs it. */
export interface DecodeCall {
  readonly params: CachedAttentionParams;
  readonly buffers: readonly BufferUse[];
  readonly uniforms: Readonly<Record<string, StepParam>>;
  readonly batch: number;
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly queryLen: number;
  readonly headDim: number;
  readonly valueDim: number;
  /** Positions that a query may see at most. */
  readonly reach: number;
  readonly dtypes: { readonly query: DType; readonly key: DType; readonly value: DType; readonly out: DType };
}

/** How a kernel shares its work; the defaults suit the shape. */
export interface DecodeTuning {
  /** Threads of a workgroup. */
  readonly threads?: number;
  /** Query heads that share a key at most. */
  readonly heads?: number;
  /** Keys of a team that are on their way together. */
  readonly ahead?: number;
  /** Workgroups that share the keys of a row. */
  readonly splits?: number;
}

/** How the threads of a workgroup share its work. */
interface Plan {
  /** Threads that share a key, and such teams. */
  readonly threads: number;
  readonly lanes: number;
  readonly teams: number;
  /** Teams that join what they have within their subgroup, and how many meet in workgroup memory behind that. */
  readonly joined: number;
  readonly meeting: number;
  /** Vectors of eight features of a key, and of a value, that a thread has. */
  readonly keyParts: number;
  readonly valueParts: number;
  /** Query heads of a workgroup: they share each key that is read. */
  readonly heads: number;
  /** Keys of a team that are on their way together. */
  readonly ahead: number;
  readonly splits: number;
}

/**
 * Cached attention of few queries: keys are split between workgroups, as many splits for every batch, so that a row's numbers do
 * not depend on its neighbours; a second step joins the splits. A team of threads reads a key, 16 bytes each, several keys ahead,
 * for all query heads of its kv head; it keeps a running softmax of its own, so that teams meet only at the end.
 *
 * For head sizes that are multiples of 8; undefined else. Twin: the reference of `cachedAttention`.
 * @see Dao et al. 2023, Flash-Decoding
 */
export function decodeWgsl(
  call: DecodeCall,
  features: WgslFeatures,
  tuning: DecodeTuning = {},
): WgslKernel | undefined {
  if (call.headDim % eight !== 0 || call.valueDim % eight !== 0) return undefined;
  const plan = planOf(call, features, tuning);
  const { numHeads, batch, queryLen, valueDim } = call;
  const bytes = 4 * (plan.meeting * valueDim + 2 * plan.heads * plan.meeting + plan.threads);
  const numOutputs = plan.splits === 1 ? 1 : 2;
  if (bytes + 64 > features.maxWorkgroupBytes || call.buffers.length + numOutputs > features.maxBuffers)
    return undefined;
  const rows = batch * numHeads * queryLen;
  const steps = [splitStep(call, plan, features)];
  if (plan.splits === 1) return { steps };
  return {
    steps: [...steps, joinStep(call, plan)],
    scratch: [rows * plan.splits * 2 * 4, rows * plan.splits * valueDim * 4],
  };
}

function planOf(
  { batch, headDim, valueDim, numHeads, numKvHeads, reach }: DecodeCall,
  { subgroups }: WgslFeatures,
  tuning: DecodeTuning,
): Plan {
  const parts = headDim / eight;
  const lanes = Math.min(32, 2 ** Math.ceil(Math.log2(parts)));
  const keyParts = Math.ceil(parts / lanes);
  const group = numHeads / numKvHeads;
  const isAlone = reach <= aloneReach;
  // Few rows of short caches are a matter of how long a workgroup takes, not of what all of them read.
  const fewest = isAlone && batch * numHeads <= fewHeads ? 1 : keyParts === 1 ? 4 : 2;
  const most = tuning.heads ?? fewest;
  const heads = Array.from({ length: most }, (_, i) => most - i).find((n) => group % n === 0) ?? 1;
  const ofGroup = tuning.threads ?? (isAlone && reach > keysOfSplit ? aloneThreads : threads);
  const teams = ofGroup / lanes;
  const joined = Math.max(1, Math.min(fixedSize(subgroups), ofGroup) / lanes);
  const limit = Math.max(maxSplits, Math.floor(512 / (numHeads / heads)));
  return {
    threads: ofGroup,
    lanes,
    teams,
    joined,
    meeting: teams / joined,
    keyParts,
    valueParts: Math.ceil(valueDim / eight / lanes),
    heads,
    ahead: tuning.ahead ?? (keyParts === 1 ? 4 : 1),
    splits: tuning.splits ?? (isAlone ? 1 : Math.max(1, Math.min(limit, Math.ceil(reach / keysOfSplit)))),
  };
}

/** Threads of every subgroup; 0 where there are none, or of several sizes. */
function fixedSize(subgroups: WgslFeatures["subgroups"]): number {
  return subgroups !== undefined && subgroups.min === subgroups.max ? subgroups.max : 0;
}

/** Teams add up what their threads have: by exchange in a subgroup, or through workgroup memory where subgroups are small. */
function teamSum({ lanes }: Plan, { subgroups }: WgslFeatures) {
  const reaches = Array.from({ length: Math.log2(lanes) }, (_, i) => lanes / 2 ** (i + 1));
  if (fixedSize(subgroups) >= lanes) {
    return {
      enable: "enable subgroups;\ndiagnostic(off, subgroup_uniformity);",
      sum: (name: string) =>
        reaches.map((reach) => `${name} += subgroupShuffleXor(${name}, ${reach}u);`).join(" "),
    };
  }
  return {
    enable: "",
    sum: (name: string) => `tSum[thread] = ${name}; workgroupBarrier();
      ${name} = 0.0; for (var e = 0u; e < ${lanes}u; e++) { ${name} += tSum[team * ${lanes}u + e]; }
      workgroupBarrier();`,
  };
}

function splitStep(call: DecodeCall, plan: Plan, features: WgslFeatures): WgslStep {
  const { params, numHeads, batch, queryLen, headDim, valueDim, dtypes } = call;
  const { meeting, heads, splits } = plan;
  const join = teamSum(plan, features);
  const outputs: BufferUse[] =
    splits === 1
      ? [outBuffer(call)]
      : [
          { name: "partSums", memory: scratchAt(0), dtype: "f32", access: "write" },
          { name: "partOut", memory: scratchAt(1), dtype: "f32", access: "write" },
        ];
  return wgslStep({
    buffers: [...call.buffers, ...outputs],
    params: { ...call.uniforms, splits },
    threads: plan.threads,
    groups: batch * (numHeads / heads) * queryLen * splits,
    enable: join.enable,
    declarations: `${cellFunction(params)}
${eightFunctions(params, { headDim, valueDim, dtypes })}
fn held(row: i32, x: Eight) -> Eight { return Eight(select(vec4f(), x.low, row >= 0), select(vec4f(), x.high, row >= 0)); }
var<workgroup> tSum: array<f32, ${plan.threads}>;
var<workgroup> tMost: array<f32, ${heads * meeting}>;
var<workgroup> tTotal: array<f32, ${heads * meeting}>;
var<workgroup> tOut: array<f32, ${meeting * valueDim}>;`,
    body: splitBody(call, plan, join.sum),
  });
}

/** The output: whole words where it is packed. */
export function outBuffer({ params, dtypes }: DecodeCall): BufferUse {
  const memory = bufferAt(params.inputs.length);
  return dtypes.out === "f32"
    ? { name: "out", memory, dtype: "f32", access: "write" }
    : { name: "out", memory, dtype: dtypes.out, access: "words", element: "u32" };
}

function splitBody(call: DecodeCall, plan: Plan, sum: (name: string) => string): string {
  const { params, headDim, valueDim, numHeads } = call;
  const { lanes, teams, meeting, joined, heads, keyParts, valueParts, ahead, splits } = plan;
  const step = teams * ahead;
  const part = (k: number) => `lane + ${k * lanes}u`;
  const guard = (k: number, width: number, text: string) =>
    (k + 1) * lanes * eight > width ? `if (${part(k)} < ${width / eight}u) { ${text} }` : text;
  // No branches around loads, so that all of them are under way together.
  const read = (
    name: string,
    { k, width, type }: { k: number; width: number; type: string },
    load: string,
  ) =>
    (k + 1) * lanes * eight > width
      ? `    var ${name}: ${type}; ${guard(k, width, `${name} = ${load};`)}`
      : `    let ${name} = ${load};`;
  const held = (a: number, wide: string) => (params.placement === "paged" ? `held(row${a}, ${wide})` : wide);
  return `  let split = group % P.splits;
  let rest = group / P.splits;
  let t = rest % P.queryLen;
  let h0 = rest / P.queryLen % ${numHeads / heads}u * ${heads}u;
  let b = rest / (P.queryLen * ${numHeads / heads}u);
  let head = h0 / (P.numHeads / P.kvHeads);
  let lane = thread % ${lanes}u;
  let team = thread / ${lanes}u;
${keyRange(params)}
  let span = end - min(begin, end);
  let perSplit = (span + ${step}u * P.splits - 1u) / (${step}u * P.splits) * ${step}u;
  let first = min(begin + split * perSplit, end);
  let last = min(first + perSplit, end);
${each(heads, (n) =>
  each(
    keyParts,
    (k) => `  var q${n}_${k} = Eight(vec4f(), vec4f());
  ${guard(k, headDim, `q${n}_${k} = queryEight(((b * P.numHeads + h0 + ${n}u) * P.queryLen + t) * ${headDim / eight}u + ${part(k)});`)}`,
  ),
)}
${each(heads, (n) => `  var most${n} = -1e30;\n  var total${n} = 0.0;\n${each(valueParts, (k) => `  var out${n}_${k} = Eight(vec4f(), vec4f());`)}`)}
  for (var tile = first; tile < last; tile += ${step}u) {
${each(ahead, (a) => `    let j${a} = tile + ${a * teams}u + team;\n    let row${a} = cell(safeSlot, head, min(j${a}, last - 1u));`)}
${each(ahead, (a) =>
  each(keyParts, (k) =>
    read(
      `k${a}_${k}`,
      { k, width: headDim, type: "KeyBits" },
      `keyLoad(u32(max(row${a}, 0)), min(j${a}, last - 1u), complete, safeSlot * P.kvHeads + head, ${part(k)})`,
    ),
  ),
)}
${each(ahead, (a) =>
  each(valueParts, (k) =>
    read(
      `v${a}_${k}`,
      { k, width: valueDim, type: "ValueBits" },
      `valueLoad(u32(max(row${a}, 0)), ${part(k)})`,
    ),
  ),
)}
${each(
  ahead,
  (a) => `${each(heads, (n) => `    var s${a}_${n} = 0.0;`)}
    {
${each(keyParts, (k) => `      let x${k} = ${held(a, `keyWide(k${a}_${k})`)};`)}
${each(heads, (n) => `      s${a}_${n} = ${Array.from({ length: keyParts }, (_, k) => `dot(q${n}_${k}.low, x${k}.low) + dot(q${n}_${k}.high, x${k}.high)`).join(" + ")};`)}
    }
${each(
  heads,
  (n) => `    ${sum(`s${a}_${n}`)}
    { let h = h0 + ${n}u; let j = min(j${a}, last - 1u); var value = s${a}_${n} * P.scale; ${scoreText(params)} s${a}_${n} = select(-1e30, value, j${a} < last); }`,
)}`,
)}
${each(
  heads,
  (
    n,
  ) => `    let next${n} = ${Array.from({ length: ahead }, (_, a) => a).reduce((text, a) => `h_max(${text}, s${a}_${n})`, `most${n}`)};
    let kept${n} = exp(most${n} - next${n});
    most${n} = next${n};
${each(ahead, (a) => `    s${a}_${n} = select(0.0, exp(s${a}_${n} - next${n}), j${a} < last);`)}
    total${n} = total${n} * kept${n} + ${Array.from({ length: ahead }, (_, a) => `s${a}_${n}`).join(" + ")};
${each(valueParts, (k) => `    out${n}_${k}.low *= kept${n}; out${n}_${k}.high *= kept${n};`)}`,
)}
${each(ahead, (a) =>
  each(
    valueParts,
    (k) => `    {
      let x = ${held(a, `valueWide(v${a}_${k})`)};
${each(heads, (n) => `      out${n}_${k}.low += s${a}_${n} * x.low; out${n}_${k}.high += s${a}_${n} * x.high;`)}
    }`,
  ),
)}
  }
${joinedTeams(plan)}
  let seat = team / ${joined}u;
  let isSeated = team % ${joined}u == 0u;
  if (lane == 0u && isSeated) {
${each(heads, (n) => `    tMost[${n * meeting}u + seat] = most${n}; tTotal[${n * meeting}u + seat] = total${n};`)}
  }
  workgroupBarrier();
${each(
  heads,
  (n) => `  {
    var most = ${splits === 1 && params.inputs.includes("sinks") ? `load_sinks(h0 + ${n}u)` : "-1e30"};
    for (var e = 0u; e < ${meeting}u; e++) { most = h_max(most, tMost[${n * meeting}u + e]); }
    var total = ${splits === 1 && params.inputs.includes("sinks") ? `exp(load_sinks(h0 + ${n}u) - most)` : "0.0"};
    for (var e = 0u; e < ${meeting}u; e++) { total += tTotal[${n * meeting}u + e] * exp(tMost[${n * meeting}u + e] - most); }
    let factor = exp(most${n} - most);
${each(valueParts, (k) =>
  guard(
    k,
    valueDim,
    `    if (isSeated) { let at = seat * ${valueDim}u + (${part(k)}) * 8u;
${each(4, (c) => `      tOut[at + ${c}u] = out${n}_${k}.low[${c}] * factor; tOut[at + ${c + 4}u] = out${n}_${k}.high[${c}] * factor;`)} }`,
  ),
)}
    workgroupBarrier();
    let row = (b * P.numHeads + h0 + ${n}u) * P.queryLen + t;
    for (var c = thread * 2u; c < ${valueDim}u; c += ${2 * plan.threads}u) {
      var sums = vec2f();
      for (var e = 0u; e < ${meeting}u; e++) { sums += vec2f(tOut[e * ${valueDim}u + c], tOut[e * ${valueDim}u + c + 1u]); }
${splits === 1 ? storePair(call, { at: `row * ${valueDim}u + c`, value: "select(sums / total, vec2f(), total == 0.0 || !isInside)" }) : `      let at = (row * P.splits + split) * ${valueDim}u + c; store_partOut(at, sums.x); store_partOut(at + 1u, sums.y);`}
    }
${splits === 1 ? "" : `    if (thread == 0u) { store_partSums((row * P.splits + split) * 2u, most); store_partSums((row * P.splits + split) * 2u + 1u, total); }`}
    workgroupBarrier();
  }`,
)}`;
}

/** Teams of one subgroup join their running softmax by exchange. */
function joinedTeams({ lanes, joined, heads, valueParts }: Plan): string {
  const reaches = Array.from({ length: Math.log2(joined) }, (_, i) => lanes * 2 ** i);
  return reaches
    .map((reach) =>
      each(heads, (n) => {
        const halves = Array.from({ length: valueParts }, (_, k) =>
          ["low", "high"].map((end) => `out${n}_${k}.${end}`),
        );
        return `  { let other = subgroupShuffleXor(most${n}, ${reach}u);
    let next = h_max(most${n}, other);
    let own = exp(most${n} - next);
    let its = exp(other - next);
    most${n} = next;
    total${n} = total${n} * own + subgroupShuffleXor(total${n}, ${reach}u) * its;
${halves
  .flat()
  .map((half) => `    ${half} = ${half} * own + subgroupShuffleXor(${half}, ${reach}u) * its;`)
  .join("\n")} }`;
      }),
    )
    .join("\n");
}

/** Stores two neighbouring elements of the output, the first at an even place. */
export function storePair(
  { dtypes }: DecodeCall,
  { at, value }: { readonly at: string; readonly value: string },
): string {
  return dtypes.out === "f32"
    ? `      { let pair = ${value}; store_out(${at}, pair.x); store_out(${at} + 1u, pair.y); }`
    : `      { let pair = ${value}; out[(${at}) / 2u] = ${encodeBits(dtypes.out, "pair.x")} | (${encodeBits(dtypes.out, "pair.y")} << 16u); }`;
}

/**
 * Joins the splits of a row, and its sink. Threads share the splits, so that few loads wait for each other: thread c + n g takes
 * features 4 c of splits g, g + groups, ..
 */
function joinStep(call: DecodeCall, { splits }: Plan): WgslStep {
  const { params, batch, numHeads, queryLen, valueDim } = call;
  const sinks = call.buffers.filter(({ name }) => name === "sinks");
  const hasSinks = params.inputs.includes("sinks" satisfies CachedInput);
  const vectors = valueDim / 4;
  const groups = Math.max(1, Math.floor(threads / vectors));
  const ahead = 4;
  const part = (u: number) => `e + ${u * groups}u`;
  return wgslStep({
    buffers: [
      ...sinks,
      { name: "partSums", memory: scratchAt(0), dtype: "f32", access: "read", element: "vec2f" },
      { name: "partOut", memory: scratchAt(1), dtype: "f32", access: "read", element: "vec4f" },
      outBuffer(call),
    ],
    params: { numHeads, queryLen, splits },
    threads,
    groups: batch * numHeads * queryLen,
    declarations: `var<workgroup> tSums: array<vec2f, ${splits}>;
var<workgroup> tParts: array<vec4f, ${Math.max(threads, vectors)}>;`,
    body: `  let row = group;
  for (var e = thread; e < P.splits; e += ${threads}u) { tSums[e] = partSums[row * P.splits + e]; }
  workgroupBarrier();
  var most = ${hasSinks ? "load_sinks(row / P.queryLen % P.numHeads)" : "-1e30"};
  for (var e = 0u; e < P.splits; e++) { most = h_max(most, tSums[e].x); }
  var total = 0.0;
  for (var e = 0u; e < P.splits; e++) { total += exp(tSums[e].x - most) * tSums[e].y; }
  let isEmpty = total == 0.0;
  ${hasSinks ? "total += exp(load_sinks(row / P.queryLen % P.numHeads) - most);" : ""}
  for (var c0 = 0u; c0 < ${vectors}u; c0 += ${Math.min(threads, vectors)}u) {
    let c = c0 + thread % ${Math.min(threads, vectors)}u;
    let share = thread / ${Math.min(threads, vectors)}u;
    var sums = vec4f();
    if (share < ${groups}u && c < ${vectors}u) {
      for (var e = share; e < P.splits; e += ${ahead * groups}u) {
${each(ahead, (u) => `        let x${u} = partOut[(row * P.splits + min(${part(u)}, P.splits - 1u)) * ${vectors}u + c];`)}
${each(ahead, (u) => `        if (${part(u)} < P.splits) { sums += exp(tSums[${part(u)}].x - most) * x${u}; }`)}
      }
    }
    workgroupBarrier();
    tParts[thread] = sums;
    workgroupBarrier();
    if (share == 0u && c < ${vectors}u) {
      for (var g = 1u; g < ${groups}u; g++) { sums += tParts[thread + g * ${Math.min(threads, vectors)}u]; }
${storePair(call, { at: `row * ${valueDim}u + 4u * c`, value: "select(sums.xy / total, vec2f(), isEmpty)" })}
${storePair(call, { at: `row * ${valueDim}u + 4u * c + 2u`, value: "select(sums.zw / total, vec2f(), isEmpty)" })}
    }
  }`,
  });
}
