import {
  byteWidth,
  type Device,
  disposeTree,
  type FloatDType,
  HeddleError,
  reference,
  zeros,
} from "@heddle/tensor";
import { type DecoderConfig, layerConfig } from "../config.js";
import { isCuttable, storedWeights } from "../loading/weight-map.js";
import { buildWeights } from "../weights.js";

export interface PlanMemoryOptions {
  /** Dtype of weights and cache. Default f32. */
  readonly dtype?: FloatDType;
  /** Sequences in the cache. Default 1. */
  readonly numSlots?: number;
  /** Positions of each. Default: the model's. */
  readonly maxSeqLen?: number;
  /** Throws where one tensor is larger than the device allows and cannot be loaded in pieces of rows. */
  readonly device?: Pick<Device, "kind" | "limits">;
  /** Throws where all of it is more: the memory of the card, say, which WebGPU does not tell. */
  readonly maxBytes?: number;
}

export interface MemoryPlan {
  readonly weightBytes: number;
  readonly cacheBytes: number;
  readonly totalBytes: number;
  /** The largest single tensor. A device limits it, too, but for matrices that load in pieces of rows. */
  readonly largest: { readonly name: string; readonly shape: readonly number[]; readonly bytes: number };
}

interface Part {
  readonly name: string;
  readonly shape: readonly number[];
  readonly isCache: boolean;
}

interface Counted extends MemoryPlan {
  /** The largest tensor, as stored, that must be one: others are cut where the device calls for it. */
  readonly whole: MemoryPlan["largest"];
}

/**
 * Counts what a decoder will take before any of it is loaded: weights and cache, not the values in between (a few rows).
 *
 * @throws HeddleError "capacity" where it does not fit, with what would
 */
export function planMemory(config: DecoderConfig, options: PlanMemoryOptions = {}): MemoryPlan {
  const { dtype = "f32", device, maxBytes } = options;
  const { whole, ...plan } = count(config, options, dtype);
  const limit = device?.limits.maxBufferBytes ?? Number.POSITIVE_INFINITY;
  if (whole.bytes > limit) {
    const { name, shape, bytes } = whole;
    throw new HeddleError(
      "capacity",
      `planMemory: each tensor must fit into ${limit} bytes on the ${device?.kind} device; got ${name} ${dtype}[${shape.join(", ")}] of ${bytes}. ${cure(config, options, (other) => other.whole.bytes <= limit)}`,
      { name, bytes, limit },
    );
  }
  if (maxBytes !== undefined && plan.totalBytes > maxBytes) {
    throw new HeddleError(
      "capacity",
      `planMemory: weights and cache must fit into maxBytes ${maxBytes}; got ${plan.weightBytes} of weights and ${plan.cacheBytes} of cache in ${dtype}. ${cure(config, options, (other) => other.totalBytes <= maxBytes)}`,
      { ...plan, maxBytes },
    );
  }
  return plan;
}

/** The first of: a shorter cache in this dtype, half precision, both; or that nothing of this model fits. */
function cure(config: DecoderConfig, options: PlanMemoryOptions, fits: (plan: Counted) => boolean): string {
  const { dtype = "f32", maxSeqLen = config.maxSeqLen } = options;
  const dtypes: readonly FloatDType[] = dtype === "f32" ? [dtype, "f16"] : [dtype];
  for (const candidate of dtypes) {
    if (candidate !== dtype && fits(count(config, options, candidate))) return `It fits in ${candidate}.`;
    for (let length = maxSeqLen >> 1; length >= 64; length >>= 1) {
      if (fits(count(config, { ...options, maxSeqLen: length }, candidate)))
        return `It fits with maxSeqLen ${length}${candidate === dtype ? "" : ` in ${candidate}`}.`;
    }
  }
  return "Not even half precision and a cache of 64 positions fit: quantise the weights, or use a smaller model.";
}

function count(config: DecoderConfig, options: PlanMemoryOptions, dtype: FloatDType): Counted {
  const width = byteWidth(dtype);
  const parts = [...weightParts(config), ...cacheParts(config, options)];
  const sized = parts.map((part) => ({ ...part, bytes: part.shape.reduce((n, m) => n * m, width) }));
  const sum = (isCache: boolean) =>
    sized.reduce((total, part) => total + (part.isCache === isCache ? part.bytes : 0), 0);
  const [weightBytes, cacheBytes] = [sum(false), sum(true)];
  const stored = storedWeights(config).filter((weight) => !isCuttable(weight));
  const whole = largestOf([...stored, ...cacheParts(config, options)], width);
  const largest = largestOf(parts, width);
  return { weightBytes, cacheBytes, totalBytes: weightBytes + cacheBytes, largest, whole };
}

function largestOf(
  parts: readonly { readonly name: string; readonly shape: readonly number[] }[],
  width: number,
): MemoryPlan["largest"] {
  const sized = parts.map(({ name, shape }) => ({
    name,
    shape,
    bytes: shape.reduce((n, m) => n * m, width),
  }));
  return sized.reduce((most, part) => (part.bytes > most.bytes ? part : most));
}

/** Every weight that the configuration calls for; the tree is built of one stand-in. */
function weightParts(config: DecoderConfig): Part[] {
  const parts: Part[] = [];
  const device = reference();
  const weights = buildWeights(config, (name, shape) => {
    parts.push({ name, shape, isCache: false });
    return zeros(
      device,
      shape.map(() => 0),
    );
  });
  disposeTree(weights);
  device.dispose();
  return parts;
}

function cacheParts(
  config: DecoderConfig,
  { numSlots = 1, maxSeqLen = config.maxSeqLen }: PlanMemoryOptions,
): Part[] {
  return Array.from({ length: config.numLayers }, (_, layer) => {
    const { numKvHeads, attention } = layerConfig(config, layer);
    const heads = attention.latent === undefined ? numKvHeads : config.numHeads;
    const lead = [numSlots, heads, maxSeqLen];
    const valueDim = attention.latent?.valueDim ?? config.headDim;
    return [
      { name: `cache.${layer}.key`, shape: [...lead, config.headDim], isCache: true },
      { name: `cache.${layer}.value`, shape: [...lead, valueDim], isCache: true },
    ];
  }).flat();
}
