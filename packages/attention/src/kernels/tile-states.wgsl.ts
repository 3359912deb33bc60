import type { TensorType } from "@heddle/tensor";
import {
  type BufferUse,
  type StepParam,
  scratchAt,
  type WgslMemory,
  type WgslStep,
  wgslStep,
} from "@heddle/tensor/kernel";
import { type FlashParams, type FlashShape, flashInputs } from "../flash-params.js";
import type { MaskRule } from "../mask-rule.js";
import { maskBuffers, seesFunction } from "./mask.wgsl.js";

/** Queries and keys of a tile. */
interface Tile {
  readonly queries: number;
  readonly keys: number;
}

/** How a kernel learns what a mask leaves of each of its tiles. */
export interface TileStates {
  /** Runs before the kernel; empty where the rule itself tells. */
  readonly steps: readonly WgslStep[];
  /** Bytes of the scratch buffers that it needs: they come first. */
  readonly scratch: readonly number[];
  /** What the kernel's step must have beside its own buffers and uniforms. */
  readonly buffers: readonly BufferUse[];
  readonly params: Readonly<Record<string, StepParam>>;
  /**
   * `tileState(b, h, i, j)`: 0 where no query of tile i sees a key of tile j, 2 where all see all and every key exists, else 1.
   * Uniform where its arguments are. `nextTile(b, h, i, j)`: the first tile from j on that is not 0, or the number of tiles.
   */
  readonly functions: string;
}

/** Plans the states of a call's tiles. Any rule but a band is looked at pair by pair, once for all heads that share it. */
export function tileStates(
  { inputs, params, shape }: { inputs: readonly TensorType[]; params: FlashParams; shape: FlashShape },
  tile: Tile,
): TileStates {
  const { mask } = params;
  const next = `fn nextTile(b: u32, h: u32, i: u32, start: u32) -> u32 {
  var j = start;
  while (j < P.keyTiles && tileState(b, h, i, j) == 0u) { j++; }
  return j;
}`;
  const keyTiles = Math.ceil(shape.keyLen / tile.keys);
  if (mask === undefined || mask.kind === "band") {
    const functions = `${bandState(mask, tile)}\n${next}`;
    return { steps: [], scratch: [], buffers: [], params: { keyTiles }, functions };
  }
  const queryTiles = Math.ceil(shape.queryLen / tile.queries);
  const batches = dependsOn(mask, "batch") ? shape.batch : 1;
  const heads = dependsOn(mask, "head") ? shape.numHeads : 1;
  const sizes = {
    keyTiles,
    queryTiles,
    stateBatch: batches === 1 ? 0 : heads * queryTiles * keyTiles,
    stateHead: heads === 1 ? 0 : queryTiles * keyTiles,
  };
  const states: WgslMemory = scratchAt(0);
  const count = batches * heads * queryTiles * keyTiles;
  const step = wgslStep({
    buffers: [
      ...maskBuffers(inputs, flashInputs(params).mask),
      { name: "states", memory: states, dtype: "u32", access: "write" },
    ],
    params: { ...sizes, heads, numHeads: shape.numHeads, queryLen: shape.queryLen, keyLen: shape.keyLen },
    threads: 128,
    groups: count,
    declarations: `${seesFunction(mask)}
var<workgroup> found: atomic<u32>;`,
    body: stateBody(tile),
  });
  const functions = `fn tileState(b: u32, h: u32, i: u32, j: u32) -> u32 {
  return states[b * P.stateBatch + h * P.stateHead + i * P.keyTiles + j];
}
${next}`;
  return {
    steps: [step],
    scratch: [count * 4],
    buffers: [{ name: "states", memory: states, dtype: "u32", access: "read" }],
    params: sizes,
    functions,
  };
}

/** Bit 0: a pair is seen; bit 1: a pair is not, or its key does not exist. */
function stateBody({ queries, keys }: Tile): string {
  return `  let j0 = (group % P.keyTiles) * ${keys}u;
  let i0 = ((group / P.keyTiles) % P.queryTiles) * ${queries}u;
  let perHead = group / (P.keyTiles * P.queryTiles);
  let h = perHead % P.heads;
  let b = perHead / P.heads;
  let offset = i32(P.keyLen) - i32(P.queryLen);
  if (thread == 0u) { atomicStore(&found, 0u); }
  workgroupBarrier();
  var bits = 0u;
  for (var e = thread; e < ${queries * keys}u; e += 128u) {
    let i = i0 + e / ${keys}u;
    let j = j0 + e % ${keys}u;
    if (j >= P.keyLen) { bits |= 2u; }
    else if (i < P.queryLen) { bits |= select(2u, 1u, sees(b, h, i, j, offset)); }
  }
  atomicOr(&found, bits);
  workgroupBarrier();
  if (thread == 0u) { store_states(group, array<u32, 4>(0u, 2u, 0u, 1u)[atomicLoad(&found)]); }`;
}

function bandState(band: Extract<MaskRule, { kind: "band" }> | undefined, { queries, keys }: Tile): string {
  const { left, right } = band ?? {};
  const none = [
    right === undefined ? undefined : `first > lastQuery + ${right}`,
    left === undefined ? undefined : `last + ${left} < query`,
  ].filter((text) => text !== undefined);
  const all = [
    right === undefined ? undefined : `last <= query + ${right}`,
    left === undefined ? undefined : `first + ${left} >= lastQuery`,
    `first + ${keys} <= i32(P.keyLen)`,
  ].filter((text) => text !== undefined);
  return `fn tileState(b: u32, h: u32, i: u32, j: u32) -> u32 {
  let query = i32(i * ${queries}u) + i32(P.keyLen) - i32(P.queryLen);
  let lastQuery = min(query + ${queries - 1}, i32(P.keyLen) - 1);
  let first = i32(j * ${keys}u);
  let last = min(first + ${keys - 1}, i32(P.keyLen) - 1);
  ${none.length === 0 ? "" : `if (${none.join(" || ")}) { return 0u; }`}
  return select(1u, 2u, ${all.join(" && ")});
}`;
}

/** Whether a rule may differ between the rows of a batch, or between heads. */
function dependsOn(rule: MaskRule, axis: "batch" | "head"): boolean {
  switch (rule.kind) {
    case "keysBelow":
    case "keys":
    case "queries":
    case "documents":
      return axis === "batch";
    case "blocks":
      return axis === "head" && rule.perHead;
    case "dense":
      return axis === "batch" ? rule.perBatch : rule.perHead;
    case "all":
    case "any":
      return rule.rules.some((part) => dependsOn(part, axis));
    case "band":
    case "chunk":
    case "firstKeys":
    case "stride":
    case "columns":
      return false;
    default:
      return rule satisfies never;
  }
}
