import type { TensorType } from "@heddle/tensor";
import {
  assemble,
  type CpuFeatures,
  type LoweredKernel,
  type WasmKernelFactory,
} from "@heddle/tensor/kernel";
import { placementExtents } from "../cache-placement.js";
import { type CachedAttentionParams, cachedInputs } from "../cached-params.js";
import { type FlashParams, type FlashShape, tileSizeFor } from "../flash-params.js";
import type { MaskRule } from "../mask-rule.js";
import {
  cacheArguments,
  declareCacheBuffers,
  emitCachedBias,
  emitCachedKeys,
  loadSink,
  type StoredDType,
  stageFloats,
} from "./cache-view.js";
import { decodeKernel } from "./decode.wasm.js";
import type { DecodeCall } from "./decode-plan.js";
import {
  biasAxes,
  declareLengths,
  emitForward,
  type ForwardSources,
  forwardGrain,
  forwardPlan,
  forwardUnits,
  lengthArguments,
  planKey,
} from "./flash-forward.wasm.js";
import { clearSteps } from "./scratch-slot.js";

/** From this many queries a row on, tiles of queries share their reads of the keys. */
const minTiledQueries = 12;

/** Up to this width, rows that are read behind the last key lie in the guard behind all memory. */
const maxStreamedWidth = 2048;

/**
 * WebAssembly kernels of `cachedAttention` for f32: a streaming one for few queries a row, the tiled forward for chunks.
 *
 * Slots, starts and lengths are read at each run. Twin: the op's reference in cached-attention.ts.
 */
export const cachedAttentionWasm: WasmKernelFactory<CachedAttentionParams> = (call, features) => {
  const decode = decodeCall(call, features);
  if (decode === undefined) return undefined;
  const { queryLen, headDim } = decode.shape;
  const isStreamed = queryLen < minTiledQueries && headDim <= maxStreamedWidth;
  return isStreamed ? decodeKernel(decode) : tiledKernel(decode);
};

/** What the code of a call depends on, and its extents; undefined for types without a kernel. */
function decodeCall(
  { params, inputs, outputs }: Parameters<typeof cachedAttentionWasm>[0],
  features: CpuFeatures,
): DecodeCall | undefined {
  const { query, key, value, keyTail, table, bias, distanceBias } = cachedInputs(inputs, params);
  const dtype = params.format === undefined ? storedDType(key, value) : codedDType(keyTail);
  if (query?.dtype !== "f32" || key === undefined || dtype === undefined) return undefined;
  const [batch = 0, numHeads = 0, queryLen = 0, headDim = 0] = query.shape;
  const numKvHeads = key.shape[1] ?? 0;
  const { numSlots, maxSeqLen, ...store } = placementExtents(params.placement, key, table);
  const blockRows = keyTail?.shape[2] ?? store.blockRows;
  const valueDim = outputs[0]?.shape[3] ?? 0;
  const shape: FlashShape = { batch, numHeads, numKvHeads, queryLen, keyLen: maxSeqLen, headDim, valueDim };
  const perHead = distanceBias?.shape[0] !== 1;
  const extents = { numSlots, maxSeqLen, blockRows, distances: distanceBias?.shape[1] ?? 0 };
  return { shape, params, dtype, bias: biasAxes(bias?.shape), perHead, features, extents };
}

/** Tiles of queries over cached keys. */
function tiledKernel({ extents, ...common }: DecodeCall): LoweredKernel {
  const { shape, params, dtype, perHead, features } = common;
  const { numHeads, queryLen } = shape;
  const rules = tiledParams(params);
  const stagedKeys = tileSizeFor(queryLen, rules.mask).keys;
  const cache = { ...common, stagedKeys };
  const staged = stageFloats(cache, stagedKeys);
  const plan = forwardPlan(shape, rules, { features, stageFloats: staged });
  const emit = () =>
    assemble({ sharedMemory: features.sharedMemory }, (f) => {
      const buffers = declareCacheBuffers(f, params);
      const scratch = f.param("i32");
      const lengths = declareLengths(f);
      const [begin, end] = [f.param("i32"), f.param("i32")];
      const view = { plan: cache, buffers, queryLen: lengths.queryLen };
      const sources: ForwardSources = {
        query: buffers.inputs.query as typeof scratch,
        out: buffers.out,
        logSumExp: undefined,
        tiles: undefined,
        scratch,
        lengths,
        keys: (batchRow, kvHead, stage) =>
          emitCachedKeys(f, view, { batchRow, kvHead, stage: staged === 0 ? undefined : stage }),
        rules: (batchRow, head, { offset }) => {
          const biases = emitCachedBias(f, view, { batchRow, head, offset });
          return {
            mask: plan.params.mask && {
              rule: plan.params.mask,
              inputs: [],
              batchRow,
              head,
              numHeads,
              ...lengths,
            },
            biases: [biases.bias, biases.distanceBias].filter((each) => each !== undefined),
            sink: loadSink(buffers, head),
          };
        },
      };
      emitForward(f, plan, sources, { begin, end });
    });
  const { valueDim: valuePrefix, inputs } = params;
  const rulesKey = JSON.stringify([
    inputs,
    params.placement,
    dtype,
    valuePrefix,
    params.isCausal,
    cache.bias,
    perHead,
  ]);
  return {
    steps: [
      ...clearSteps(plan.slots, features),
      {
        module: { key: `cached-attention ${planKey(plan)} ${rulesKey}`, emit },
        args: [
          ...cacheArguments(params, extents),
          { kind: "scratch", byteOffset: 0 },
          ...lengthArguments(shape),
        ],
        units: forwardUnits(plan),
        grain: forwardGrain(plan),
      },
    ],
    scratchBytes: plan.slots.totalBytes,
  };
}

/** The dtype of stored rows, if kernels read it. */
function storedDType(key: TensorType | undefined, value: TensorType | undefined): StoredDType | undefined {
  const dtype = key?.dtype;
  if (value !== undefined && value.dtype !== dtype) return undefined;
  return dtype === "f32" || dtype === "f16" || dtype === "bf16" ? dtype : undefined;
}

function codedDType(tail: TensorType | undefined): StoredDType | undefined {
  return tail?.dtype === "f32" ? "u8" : undefined;
}

/** The rules of cached attention as those of the tiled forward. */
function tiledParams({ scale, softcap, left, chunk, isCausal }: CachedAttentionParams): FlashParams {
  const band: MaskRule = { kind: "band", left, right: 0 };
  const mask: MaskRule =
    chunk === undefined ? band : { kind: "all", rules: [band, { kind: "chunk", size: chunk }] };
  return {
    scale,
    softcap,
    mask: isCausal ? mask : undefined,
    numMaskInputs: 0,
    hasBias: false,
    hasSinks: false,
  };
}
