import { assemble, type WasmKernelFactory } from "@heddle/tensor/kernel";
import type { CachedAttentionParams } from "../cached-attention.js";
import type { FlashParams, FlashShape } from "../flash-params.js";
import { cacheArguments, declareCacheBuffers, emitCachedKeys } from "./cache-view.js";
import { decodeKernel } from "./decode.wasm.js";
import {
  emitForward,
  type ForwardSources,
  forwardGrain,
  forwardPlan,
  forwardUnits,
  planKey,
} from "./flash-forward.wasm.js";
import { clearSteps } from "./scratch-slot.js";

/** From this many queries a row on, tiles of queries share their reads of the keys. */
const minTiledQueries = 12;

/**
 * WebAssembly kernels of `cachedAttention` for f32: a streaming one for few queries a row, the tiled forward for chunks.
 *
 * Slots and starts are read from memory at each run. Twin: the op's reference in cached-attention.ts.
 */
export const cachedAttentionWasm: WasmKernelFactory<CachedAttentionParams> = (call, features) => {
  const [query, key, value] = call.inputs;
  if (query?.dtype !== "f32" || key?.dtype !== "f32" || value?.dtype !== "f32") return undefined;
  const [batch = 0, numHeads = 0, queryLen = 0, headDim = 0] = query.shape;
  const [numSlots = 0, numKvHeads = 0, keyLen = 0] = key.shape;
  const shape: FlashShape = {
    batch,
    numHeads,
    numKvHeads,
    queryLen,
    keyLen,
    headDim,
    valueDim: value.shape[3] ?? 0,
  };
  if (queryLen < minTiledQueries) return decodeKernel({ shape, numSlots, params: call.params, features });
  const params: FlashParams = {
    ...call.params,
    right: 0,
    hasKeyMask: false,
    hasBias: false,
    hasSinks: false,
  };
  const plan = forwardPlan(shape, params, features);
  const emit = () =>
    assemble({ sharedMemory: features.sharedMemory }, (f) => {
      const buffers = declareCacheBuffers(f);
      const [scratch, begin, end] = [f.param("i32"), f.param("i32"), f.param("i32")];
      const sources: ForwardSources = {
        query: buffers.query,
        out: buffers.out,
        logSumExp: undefined,
        scratch,
        keys: (batchRow, kvHead) => emitCachedKeys(f, { shape, numSlots, buffers }, { batchRow, kvHead }),
        rules: () => ({}),
      };
      emitForward(f, plan, sources, { begin, end });
    });
  return {
    steps: [
      ...clearSteps(plan.slots, features),
      {
        module: { key: `cached-attention slots ${numSlots} ${planKey(plan)}`, emit },
        args: [...cacheArguments(), { kind: "scratch", byteOffset: 0 }],
        units: forwardUnits(plan),
        grain: forwardGrain(plan),
      },
    ],
    scratchBytes: plan.slots.totalBytes,
  };
};
