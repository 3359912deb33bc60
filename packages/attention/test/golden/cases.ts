import { type Device, type Tensor, tensor } from "@heddle/tensor";
import { type AttentionOptions, allOf, causal, type Mask, padding, slidingWindow } from "../../src/index.js";
import type { GoldenArrays } from "../../../../tooling/golden/safetensors.js";
import { readGolden, readGoldenIndex } from "./read.js";

export interface GoldenCase {
  readonly file: string;
  readonly causal: boolean;
  readonly window: number | null;
  readonly softcap: number | null;
  readonly scale?: number | null;
}

interface GoldenIndex {
  readonly cases: Readonly<Record<string, GoldenCase>>;
  readonly long: Readonly<Record<string, GoldenCase>>;
}

const index = readGoldenIndex<GoldenIndex>();

/** Cases whose whole arrays are stored. */
export const goldenCases = Object.entries(index.cases).map(([name, which]) => ({ name, ...which }));
/** Longer cases: int8 inputs, some rows of the results and the sums of all rows. */
export const longCases = Object.entries(index.long).map(([name, which]) => ({ name, ...which }));

export type Arrays = GoldenArrays;

export function caseArrays(which: GoldenCase): Arrays {
  return readGolden(which.file);
}

/** A golden array as a tensor of the device's float; int8 inputs are sixteenths. */
export function goldenTensor(device: Device, arrays: Arrays, name: string): Tensor {
  const isWhole = arrays.has(name);
  const { shape, data } = arrays.get(isWhole ? name : `${name}_int8`);
  const values = !isWhole ? Float32Array.from(data, (value) => value / 16) : data;
  return tensor(device, values, { shape, dtype: device.defaultFloat });
}

/** ALiBi as an additive bias: slope (key - query position), [1, H, T, S]. */
function alibiBias(device: Device, arrays: Arrays): Tensor {
  const slopes = arrays.get("alibi_slopes").data;
  const queryLen = arrays.get("q").shape[2] ?? 0;
  const keyLen = arrays.get("k").shape[2] ?? 0;
  const values = Array.from(slopes, (slope) =>
    Array.from({ length: queryLen }, (_, i) =>
      Array.from({ length: keyLen }, (_, j) => slope * (j - i - keyLen + queryLen)),
    ),
  );
  return tensor(device, [values]);
}

/** The tensors of a case beside query, key and value; differentiable ones by name. */
export function goldenRules(device: Device, arrays: Arrays): { mask?: Tensor; bias?: Tensor; sinks?: Tensor } {
  const optional = (name: string) => (arrays.has(name) ? goldenTensor(device, arrays, name) : undefined);
  const mask = arrays.has("key_mask") ? arrays.get("key_mask") : undefined;
  return {
    mask: mask && tensor(device, mask.data as Int32Array, { shape: mask.shape }),
    bias: arrays.has("alibi_slopes") ? alibiBias(device, arrays) : optional("bias"),
    sinks: optional("sinks"),
  };
}

export function goldenOptions(which: GoldenCase, rules: ReturnType<typeof goldenRules>): AttentionOptions {
  const masks: Mask[] = [];
  if (which.causal) masks.push(causal());
  if (which.window !== null) masks.push(slidingWindow(which.window));
  if (rules.mask !== undefined) masks.push(padding(rules.mask));
  return {
    mask: allOf(...masks),
    scale: which.scale ?? undefined,
    softcap: which.softcap ?? undefined,
    bias: rules.bias,
    sinks: rules.sinks,
  };
}
