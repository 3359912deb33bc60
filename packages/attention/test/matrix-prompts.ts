import { type Device, disposeTree, randn, reference, type Tensor, tensor } from "@heddle/tensor";
import {
  errorInBounds,
  type MatrixCheck,
  type MatrixUnits,
  onMatrixUnits,
} from "../../tensor/test/emulated-matrices.js";
import { cachedAttentionOp } from "../src/cached-attention.js";
import type { CachedAttentionParams, CachedInput } from "../src/cached-params.js";
import { appendKv, createKvCache, createPagedKvCache, type KvLayer } from "../src/index.js";
import { placementOf } from "../src/kv-cache.js";

interface Prompt {
  readonly name: string;
  readonly widths: readonly [D: number, Dv: number];
  /** Slot and position of each row. */
  readonly rows: readonly (readonly [slot: number, start: number])[];
  readonly isPaged: boolean;
  readonly rules: Pick<CachedAttentionParams, "scale" | "softcap" | "left">;
  readonly hasSinks: boolean;
}

const [numHeads, numKvHeads, stored] = [4, 2, 170];

const prompts: readonly Prompt[] = [
  {
    name: "70 rows behind 100 keys",
    widths: [64, 64],
    rows: Array.from({ length: 70 }, (_, i) => [1, 100 + i]),
    isPaged: false,
    rules: { scale: 0.25 },
    hasSinks: false,
  },
  {
    name: "rows of two slots and of none, window, soft cap and sinks, in pages",
    widths: [32, 16],
    rows: Array.from({ length: 66 }, (_, i) => (i < 40 ? [1, 130 + i] : i < 60 ? [2, i - 35] : [9, 5])),
    isPaged: true,
    rules: { scale: 0.25, softcap: 3, left: 70 },
    hasSinks: true,
  },
];

/** Prompts over f16 caches on the matrix units beside float64. */
export const matrixPrompts: readonly MatrixCheck[] = prompts.map((prompt) => ({
  name: `prompt: ${prompt.name}`,
  async error(device, units) {
    const [actual, expected] = [await attend(device, prompt, units), await attend(reference(), prompt)];
    // Weights are rounded to halves, and so are both results.
    return errorInBounds(actual, expected, (value) => 2 ** -10 * Math.abs(value) + 1e-3);
  },
}));

async function attend(on: Device, prompt: Prompt, units?: MatrixUnits): Promise<ArrayLike<number>> {
  const { widths, rows, rules, hasSinks } = prompt;
  const [headDim, valueDim] = widths;
  const at = (values: readonly number[]) => tensor(on, Int32Array.from(values));
  const { layer, cache } = createLayer(on, prompt);
  for (const [slot, length] of [
    [1, stored],
    [2, 40],
  ] as const) {
    using key = randn(on, [1, numKvHeads, length, headDim], { seed: slot });
    using value = randn(on, [1, numKvHeads, length, valueDim], { seed: 10 + slot });
    using slots = at([slot]);
    using starts = at([0]);
    appendKv(layer, key, value, { slots, starts });
  }
  const { placement, table } = placementOf(layer);
  using wide = randn(on, [rows.length, numHeads, 1, headDim], { seed: 3 });
  const inputs: (readonly [CachedInput, Tensor])[] = [
    ["query", wide.cast("f16")],
    ["slots", at(rows.map(([slot]) => slot))],
    ["starts", at(rows.map(([, start]) => start))],
    ...(hasSinks ? [["sinks", randn(on, [numHeads], { seed: 4 })] as const] : []),
  ];
  const kept: (readonly [CachedInput, Tensor])[] = [
    ["key", layer.key],
    ["value", layer.value],
    ...(table === undefined ? [] : [["table", table] as const]),
  ];
  const named = [...inputs, ...kept];
  const op = units ? onMatrixUnits(cachedAttentionOp, units) : cachedAttentionOp;
  using out = op.call(
    named.map(([, x]) => x),
    { placement, isCausal: true, ...rules, inputs: named.map(([name]) => name) },
  );
  const values = Float64Array.from(await out.data());
  disposeTree(inputs.map(([, x]) => x));
  disposeTree(cache);
  return values;
}

function createLayer(on: Device, { widths: [headDim, valueDim], isPaged }: Prompt) {
  const sizes = { numLayers: 1, numSlots: 3, numKvHeads, headDim, valueDim, dtype: "f16" } as const;
  if (!isPaged) {
    const cache = createKvCache(on, { ...sizes, maxSeqLen: 176 });
    return { layer: cache.layers[0] as Exclude<KvLayer, { kind: "quantised" }>, cache };
  }
  const { cache, reserve } = createPagedKvCache(on, { ...sizes, maxSeqLen: 176, numPages: 16, pageSize: 16 });
  reserve(1, { from: 0, to: 100 });
  reserve(2, { from: 0, to: 40 });
  reserve(1, { from: 100, to: stored });
  return { layer: cache.layers[0] as Exclude<KvLayer, { kind: "quantised" }>, cache };
}
