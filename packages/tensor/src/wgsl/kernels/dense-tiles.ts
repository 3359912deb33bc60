import type { DType } from "../../dtype.js";
import type { WgslFeatures } from "../kernel.js";
import { type ElementLanes, elementType } from "../matrix-unit.js";
import { bufferAt, type StepParam } from "../step.js";
import {
  type TileMemory,
  type TileSource,
  type TileTarget,
  type Tiling,
  threadsOf,
  tileMemory,
} from "./matrix-tiles.js";
import { each } from "./team.js";

export interface DenseOperand {
  readonly name: "a" | "b";
  /** Which buffer of the launch. */
  readonly index: number;
  /** f16, or f32 that is rounded to it. */
  readonly dtype: "f16" | "f32";
  readonly isDenseK: boolean;
  /** Extent of the outer axis, and of the inner one. */
  readonly edge: number;
  readonly K: number;
  /** Expression of the element where the matrix begins. */
  readonly from: string;
  /** Halves that are moved at once; the matrix begins, and its rows end, at multiples of it. */
  readonly lanes: ElementLanes;
}

/** Reads tiles of a tensor as halves: as many at a time as its rows allow. */
export function denseSource(
  { name, index, dtype, isDenseK, edge, K, from, lanes }: DenseOperand,
  tiling: Tiling,
): TileSource {
  const { depth, padding } = tiling;
  const tileEdge = name === "a" ? tiling.rows : tiling.columns;
  const memory: TileMemory = tileMemory({ edge: tileEdge, depth, padding }, { isDenseK, lanes });
  const threads = threadsOf(tiling);
  const rowLoads = (isDenseK ? depth : tileEdge) / lanes;
  // A pass of all threads covers whole rows, or a row takes whole passes.
  const loads = (tileEdge * depth) / lanes / threads;
  const isWhole = edge % tileEdge === 0;
  const isWholeK = K % depth === 0;
  const start = `${name}Start`;
  const row = (i: number) => `((thread + ${i * threads}u) / ${rowLoads}u)`;
  const column = (i: number) =>
    threads % rowLoads === 0 ? `(thread % ${rowLoads}u)` : `((thread + ${i * threads}u) % ${rowLoads}u)`;
  const type = elementType[lanes];
  const perRow = `P.${name}Row`;
  // Places beyond the edge read the last one instead: their sums are never stored.
  const address = (i: number) => {
    if (isDenseK) {
      const at = isWhole ? `${start} + ${row(i)}` : `min(${start} + ${row(i)}, P.${name}Edge - 1u)`;
      return `(${at}) * ${perRow} + ${column(i)}`;
    }
    const at = `${start} / ${lanes}u + ${column(i)}`;
    return `${row(i)} * ${perRow} + ${isWhole ? at : `min(${at}, ${perRow} - 1u)`}`;
  };
  const inner = (i: number, k: string) => (isDenseK ? `${k} + ${column(i)} * ${lanes}u` : `${k} + ${row(i)}`);
  const step = (k: string) => (isDenseK ? `${k} / ${lanes}u` : `${k} * ${perRow}`);
  const params: Record<string, StepParam> = {
    [`${name}Row`]: (isDenseK ? K : edge) / lanes,
    [`${name}Edge`]: edge,
  };
  return {
    memory,
    buffers: [{ name, memory: bufferAt(index), dtype, access: "read", element: elementOf(dtype, lanes) }],
    declarations: readFunction(name, dtype, lanes),
    params,
    setup: `  let ${name}Base = (${from}) / ${lanes}u;
${each(loads, (i) => `  var ${name}${i}: ${type};\n  let ${name}At${i} = ${name}Base + ${address(i)};`)}`,
    fetch: (k) =>
      `      { let step = ${step(k)};
${each(loads, (i) => {
  const load = `${name}${i} = read_${name}(${name}At${i} + step);`;
  return isWholeK
    ? `        ${load}`
    : `        if (${inner(i, k)} < P.K) { ${load} } else { ${name}${i} = ${type}(); }`;
})}
      }`,
    keep: (base) =>
      each(
        loads,
        (i) =>
          `    tiles[${base === "0u" ? "" : `${base} + `}${row(i)} * ${memory.stride}u + ${column(i)}] = ${name}${i};`,
      ),
  };
}

function elementOf(dtype: "f16" | "f32", lanes: ElementLanes): string {
  if (dtype === "f16") return elementType[lanes];
  return lanes === 2 ? "vec2<f32>" : "vec4<f32>";
}

/** `read_NAME(i)`: run i of `lanes` halves. */
function readFunction(name: string, dtype: "f16" | "f32", lanes: ElementLanes): string {
  const rounded = (value: string) => `pack2x16float(${value}.xy), pack2x16float(${value}.zw)`;
  const body =
    dtype === "f16"
      ? `return ${name}[at];`
      : lanes === 2
        ? `return pack2x16float(${name}[at]);`
        : lanes === 4
          ? `let v = ${name}[at]; return vec2<u32>(${rounded("v")});`
          : `let v = ${name}[2u * at]; let w = ${name}[2u * at + 1u]; return vec4<u32>(${rounded("v")}, ${rounded("w")});`;
  return `fn read_${name}(at: u32) -> ${elementType[lanes]} { ${body} }`;
}

/** Stores rounded sums in rows of N halves, as many at a time as rows allow. */
export function denseTarget(
  { index, dtype, N }: { readonly index: number; readonly dtype: DType; readonly N: number },
  { f16 }: WgslFeatures,
): TileTarget {
  const name = "c";
  const memory = bufferAt(index);
  const at = (m: string, n: string) => `(batch * P.M + ${m}) * P.N + ${n}`;
  if (dtype === "f32") {
    const perStore = N % 4 === 0 ? 4 : 1;
    const element = perStore === 4 ? "vec4<f32>" : "f32";
    return {
      buffers: [{ name, memory, dtype, access: "words", element }],
      perStore,
      store: ({ m, n }, sum) =>
        perStore === 4
          ? `c[(${at(m, n)}) / 4u] = vec4<f32>(${[0, 1, 2, 3].map(sum).join(", ")});`
          : `c[${at(m, n)}] = ${sum(0)};`,
    };
  }
  const perStore = ([8, 4, 2] as const).find((n) => N % n === 0) ?? 1;
  if (perStore === 1 && !f16) {
    return {
      buffers: [{ name, memory, dtype, access: "write" }],
      perStore,
      store: ({ m, n }, sum) => `store_c(${at(m, n)}, ${sum(0)});`,
    };
  }
  const element = perStore === 1 ? "f16" : elementType[perStore];
  const pair = (sum: (i: number) => string, i: number) =>
    `pack2x16float(vec2<f32>(${sum(i)}, ${sum(i + 1)}))`;
  return {
    buffers: [{ name, memory, dtype, access: "words", element }],
    perStore,
    store: ({ m, n }, sum) =>
      perStore === 1
        ? `c[${at(m, n)}] = f16(${sum(0)});`
        : `c[(${at(m, n)}) / ${perStore}u] = ${element}(${Array.from({ length: perStore / 2 }, (_, i) => pair(sum, 2 * i)).join(", ")});`,
  };
}
