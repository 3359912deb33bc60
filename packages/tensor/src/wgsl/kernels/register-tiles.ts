import type { WgslStep } from "../kernel.js";
import { type BufferUse, type StepParam, wgslStep } from "../step.js";
import { each } from "./team.js";
import { tilePlace } from "./tile-place.js";

/** How the outputs of a workgroup are shared out; a thread sums `threadRows` x `threadColumns` of them in registers. */
export interface RegisterTiling {
  readonly rows: number;
  readonly columns: number;
  /** Inner slice in workgroup memory. */
  readonly depth: number;
  readonly threadRows: number;
  readonly threadColumns: number;
  /** Floats between rows of workgroup memory. */
  readonly padding: number;
  /** Tiles of M before the next tile of N. */
  readonly band: number;
  /** Steps of the inner axis that are written out; a loop goes over the rest. Long texts compile slowly. */
  readonly unroll: number;
}

/** The code that brings one operand from memory through registers to rows of floats in workgroup memory, along its edge. */
export interface FloatSource {
  readonly buffers: readonly BufferUse[];
  readonly params: Readonly<Record<string, StepParam>>;
  readonly declarations: string;
  /** Statements before the first slice: addresses and registers. */
  readonly setup: string;
  /** Statements that read the slice at inner index `k` into registers. */
  fetch(k: string): string;
  /** Statements that write them to the operand's tile from vector `base` on; `floatPlace` says where. */
  keep(base: string): string;
}

/** What becomes of the sums: statements that store the vector `sum` of four outputs of row m, columns n.., at element `at`. */
export interface FloatTarget {
  readonly buffer: BufferUse;
  store(sum: string): string;
}

export interface FloatProduct {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  /** Products of one launch. */
  readonly count: number;
  readonly tiling: RegisterTiling;
  readonly left: FloatSource;
  readonly right: FloatSource;
  readonly target: FloatTarget;
  readonly params?: Readonly<Record<string, StepParam>>;
  /** Statements that find where the operands of product `batch` begin. */
  readonly setup?: string;
}

export const floatThreads = ({ rows, columns, threadRows, threadColumns }: RegisterTiling): number =>
  (rows * columns) / (threadRows * threadColumns);

/** The vector of `tileA` or `tileB` in which inner index k, place `at` of the edge lies. */
export function floatPlace(
  tile: "tileA" | "tileB",
  tiling: RegisterTiling,
  { base, k, at }: { readonly base: string; readonly k: string; readonly at: string },
): string {
  const stride = ((tile === "tileA" ? tiling.rows : tiling.columns) + tiling.padding) / 4;
  return `${tile}[${base === "0u" ? "" : `${base} + `}(${k}) * ${stride}u + (${at}) / 4u]`;
}

/**
 * Any float product in f32: slices of both operands in workgroup memory, sums in registers, the next slice on its way while
 * one is multiplied.
 */
export function floatProductStep(product: FloatProduct): WgslStep {
  const { M, N, K, count, tiling, left, right, target } = product;
  const { rows, columns, depth, padding } = tiling;
  const place = tilePlace({ M, N, count }, tiling);
  const sizes = [rows, columns].map((edge) => (depth * (edge + padding)) / 4);
  const [sizeA = 0, sizeB = 0] = sizes;
  return wgslStep({
    buffers: [...left.buffers, ...right.buffers, target.buffer],
    params: { M, N, K, ...place.params, ...left.params, ...right.params, ...product.params },
    threads: floatThreads(tiling),
    groups: place.groups,
    declarations: `var<workgroup> tileA: array<vec4f, ${sizeA}>;
var<workgroup> tileB: array<vec4f, ${sizeB}>;
${left.declarations}
${right.declarations}`,
    body: `${place.code}
${product.setup ?? ""}
${placeOf(tiling)}
${eachSum(tiling, (name) => `  var ${name} = vec4f();`)}
${left.setup}
${right.setup}
${left.fetch("0u")}
${right.fetch("0u")}
  for (var k0 = 0u; k0 < P.K; k0 += ${depth}u) {
${left.keep("0u")}
${right.keep("0u")}
    workgroupBarrier();
    let next = k0 + ${depth}u;
    if (next < P.K) {
${left.fetch("next")}
${right.fetch("next")}
    }
${multiply(tiling)}
    workgroupBarrier();
  }
${storeSums(tiling, target)}`,
  });
}

/** Blocks of 4 x 4 outputs of a thread are so far apart: 32 threads share 4 x 8 of them. */
const [rowStep, columnStep] = [16, 32];

/** Where a thread's first output lies. */
function placeOf({ columns, threadRows, threadColumns }: RegisterTiling): string {
  const wide = columns / (8 * threadColumns);
  return `  let run = thread / 32u;
  let rowAt = (run / ${wide}u) * ${4 * threadRows}u + ((thread % 32u) / 8u) * 4u;
  let columnAt = (run % ${wide}u) * ${8 * threadColumns}u + (thread % 8u) * 4u;`;
}

/** A line for each vector of four sums: row r of the thread, block c of its columns. */
function eachSum(
  { threadRows, threadColumns }: RegisterTiling,
  line: (name: string, r: number, c: number) => string,
): string {
  const wide = threadColumns / 4;
  return each(threadRows * wide, (i) => {
    const [r, c] = [Math.floor(i / wide), i % wide];
    return line(`sum${r}_${c}`, r, c);
  });
}

function multiply(tiling: RegisterTiling): string {
  const { rows, columns, depth, padding, threadRows, threadColumns, unroll } = tiling;
  const [a, b] = [(rows + padding) / 4, (columns + padding) / 4];
  return `    for (var k = 0u; k < ${depth}u; k += ${unroll}u) {
      let rowA = k * ${a}u + rowAt / 4u;
      let rowB = k * ${b}u + columnAt / 4u;
${each(
  unroll,
  (k) => `      {
${each(threadRows / 4, (i) => `        let a${i} = tileA[rowA + ${k * a + (i * rowStep) / 4}u];`)}
${each(threadColumns / 4, (j) => `        let b${j} = tileB[rowB + ${k * b + (j * columnStep) / 4}u];`)}
${eachSum(tiling, (name, r, c) => `        ${name} += a${r >> 2}.${"xyzw"[r & 3]} * b${c};`)}
      }`,
)}
    }`;
}

function storeSums(tiling: RegisterTiling, target: FloatTarget): string {
  return eachSum(
    tiling,
    (name, r, c) => `  {
    let m = aStart + rowAt + ${(r >> 2) * rowStep + (r & 3)}u;
    let n = bStart + columnAt + ${c * columnStep}u;
    if (m < P.M) {
      let at = (batch * P.M + m) * P.N + n;
${target.store(name)}
    }
  }`,
  );
}
