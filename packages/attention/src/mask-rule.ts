import { HeddleError, type Tensor, type TensorType } from "@heddle/tensor";
import type { Mask } from "./masks.js";

/**
 * A mask as kernels take it: plain data, in which tensors are numbers of mask inputs. Query i stands at position
 * p = i + offset, offset = S - T.
 */
export type MaskRule =
  /** p - left <= j <= p + right; undefined = any. */
  | { readonly kind: "band"; readonly left?: number | undefined; readonly right?: number | undefined }
  /** floor(p / size) = floor(j / size) */
  | { readonly kind: "chunk"; readonly size: number }
  /** j < count */
  | { readonly kind: "firstKeys"; readonly count: number }
  /** j < input[b] */
  | { readonly kind: "keysBelow"; readonly input: number }
  /** (p - j) mod period = 0 */
  | { readonly kind: "stride"; readonly period: number }
  /** j mod period >= period - count */
  | { readonly kind: "columns"; readonly period: number; readonly count: number }
  /** input[b, j] */
  | { readonly kind: "keys"; readonly input: number }
  /** input[b, i] */
  | { readonly kind: "queries"; readonly input: number }
  /** input[b, p] = input[b, j] >= 0 */
  | { readonly kind: "documents"; readonly input: number }
  /** input[h, i / size, j / size] */
  | {
      readonly kind: "blocks";
      readonly input: number;
      readonly size: number;
      readonly perHead: boolean;
    }
  /** input[b, h, i, j] */
  | {
      readonly kind: "dense";
      readonly input: number;
      readonly perBatch: boolean;
      readonly perHead: boolean;
    }
  | { readonly kind: "all" | "any"; readonly rules: readonly MaskRule[] };

/** Extents that the tensors of a mask have to fit. */
export interface MaskExtents {
  readonly batch: number;
  readonly numHeads: number;
  readonly queryLen: number;
  readonly keyLen: number;
}

/** A rule, and the tensors that it numbers: bool, or i32 where they hold lengths and ids. */
export interface BoundMask {
  /** Undefined = everything is seen. */
  readonly rule: MaskRule | undefined;
  readonly inputs: readonly Tensor[];
}

/**
 * Turns a mask into a rule and its tensors. Flags of any dtype become bool.
 *
 * @throws HeddleError "shape" if a tensor of the mask does not fit the extents, "dtype" if lengths or ids are not i32
 */
export function bindMask(mask: Mask | undefined, extents: MaskExtents): BoundMask {
  const inputs: Tensor[] = [];
  const rule = mask === undefined ? undefined : simplify(toRule(mask, { extents, inputs }));
  return { rule: rule?.kind === "all" && rule.rules.length === 0 ? undefined : rule, inputs };
}

interface Binding {
  readonly extents: MaskExtents;
  readonly inputs: Tensor[];
}

function toRule(mask: Mask, binding: Binding): MaskRule {
  const { batch, queryLen, keyLen } = binding.extents;
  const flags = (name: string, tensor: Tensor, shape: readonly number[]) =>
    addInput(binding, asBool(tensor), { name, allowed: shape.map((extent) => [extent]) });
  const numbers = (name: string, tensor: Tensor, shape: readonly number[]) => {
    if (tensor.dtype !== "i32") failDType(name, tensor);
    return addInput(binding, tensor, { name, allowed: shape.map((extent) => [extent]) });
  };
  switch (mask.kind) {
    case "causal":
      return { kind: "band", right: 0 };
    case "slidingWindow":
      return { kind: "band", left: mask.size - 1, right: mask.size - 1 };
    case "chunked":
      return { kind: "chunk", size: mask.size };
    case "prefix": {
      const below: MaskRule = { kind: "keysBelow", input: numbers("prefix lengths", mask.lengths, [batch]) };
      return { kind: "any", rules: [{ kind: "band", right: 0 }, below] };
    }
    case "firstKeys":
      return { kind: "firstKeys", count: mask.count };
    case "strided":
      return { kind: "stride", period: mask.stride };
    case "columns":
      return { kind: "columns", period: mask.stride, count: mask.count };
    case "padding":
      return { kind: "keys", input: flags("keyMask", mask.keyMask, [batch, keyLen]) };
    case "queries":
      return { kind: "queries", input: flags("queryMask", mask.queryMask, [batch, queryLen]) };
    case "documents":
      if (queryLen > keyLen) failQueries(queryLen, keyLen);
      return { kind: "documents", input: numbers("document ids", mask.ids, [batch, keyLen]) };
    case "blockSparse":
      return blocksRule(mask, binding);
    case "tensor":
      return denseRule(mask.mask, binding);
    case "allOf":
      return { kind: "all", rules: mask.masks.map((part) => toRule(part, binding)) };
    case "anyOf":
      return { kind: "any", rules: mask.masks.map((part) => toRule(part, binding)) };
    default:
      return mask satisfies never;
  }
}

function blocksRule(
  { layout, blockSize }: Extract<Mask, { kind: "blockSparse" }>,
  binding: Binding,
): MaskRule {
  const { numHeads, queryLen, keyLen } = binding.extents;
  const perHead = layout.rank === 3;
  const blocks = [[Math.ceil(queryLen / blockSize)], [Math.ceil(keyLen / blockSize)]];
  const allowed = perHead ? [[numHeads], ...blocks] : blocks;
  const input = addInput(binding, asBool(layout), { name: "layout", allowed });
  return { kind: "blocks", input, size: blockSize, perHead };
}

function denseRule(mask: Tensor, binding: Binding): MaskRule {
  const { batch, numHeads, queryLen, keyLen } = binding.extents;
  const allowed = [[batch, 1], [numHeads, 1], [queryLen], [keyLen]];
  const input = addInput(binding, asBool(mask), { name: "mask", allowed });
  return {
    kind: "dense",
    input,
    perBatch: mask.shape[0] !== 1,
    perHead: mask.shape[1] !== 1,
  };
}

function asBool(tensor: Tensor): Tensor {
  return tensor.dtype === "bool" ? tensor : tensor.cast("bool");
}

function addInput(
  { inputs }: Binding,
  tensor: Tensor,
  { name, allowed }: { readonly name: string; readonly allowed: readonly (readonly number[])[] },
): number {
  checkExtents(name, tensor, allowed);
  return inputs.push(tensor) - 1;
}

/** Checks a shape against the extents that each axis may have. */
export function checkExtents(
  name: string,
  { shape }: Pick<TensorType, "shape">,
  allowed: readonly (readonly number[])[],
): void {
  const fits =
    shape.length === allowed.length && allowed.every((extents, axis) => extents.includes(shape[axis] ?? -1));
  if (fits) return;
  const wanted = allowed.map((extents) => [...new Set(extents)].join(" or ")).join(", ");
  throw new HeddleError(
    "shape",
    `attention: ${name} must be [${wanted}]; got ${name} [${shape.join(", ")}]. Reshape it, or broadcast it over the missing axes.`,
    { [name]: shape },
  );
}

function failQueries(queryLen: number, keyLen: number): never {
  throw new HeddleError(
    "shape",
    `attention: documents need queries that are the last of the keys; got ${queryLen} queries, ${keyLen} keys. Compare ids of two sequences with tensorMask.`,
    { queryLen, keyLen },
  );
}

function failDType(name: string, { dtype }: Tensor): never {
  throw new HeddleError(
    "dtype",
    `attention: ${name} must be i32; got ${name} of ${dtype}. Create them from an Int32Array.`,
    { [name]: dtype },
  );
}

/** The same mask in fewer rules: nested ones flattened, bands that must all hold joined into one. */
export function simplify(rule: MaskRule): MaskRule {
  if (rule.kind !== "all" && rule.kind !== "any") return rule;
  const parts = rule.rules.map(simplify).flatMap((part) => (part.kind === rule.kind ? part.rules : [part]));
  // An empty "all" sees everything, and so does whatever it is an alternative of.
  const everything = parts.find((part) => part.kind === "all" && part.rules.length === 0);
  if (rule.kind === "any" && everything !== undefined) return everything;
  const joined = rule.kind === "all" ? joinBands(parts) : parts;
  const [only] = joined;
  return joined.length === 1 && only !== undefined ? only : { kind: rule.kind, rules: joined };
}

function joinBands(rules: readonly MaskRule[]): readonly MaskRule[] {
  const bands = rules.filter((rule) => rule.kind === "band");
  if (bands.length < 2) return rules;
  const narrowest = (values: readonly (number | undefined)[]) => {
    const given = values.filter((value) => value !== undefined);
    return given.length === 0 ? undefined : Math.min(...given);
  };
  const band: MaskRule = {
    kind: "band",
    left: narrowest(bands.map(({ left }) => left)),
    right: narrowest(bands.map(({ right }) => right)),
  };
  return [band, ...rules.filter((rule) => rule.kind !== "band")];
}
