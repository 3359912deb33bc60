import { type DType, isHalf, type TensorType } from "@heddle/tensor";
import { type BufferUse, bufferAt } from "@heddle/tensor/kernel";
import type { CachedAttentionParams, CachedInput } from "../cached-params.js";

/** The buffers of a call whose rows are read eight features at a time: queries, keys and values as whole vectors. */
export function eightBuffers(
  { inputs: names, format }: CachedAttentionParams,
  types: readonly TensorType[],
): BufferUse[] {
  const element = (name: CachedInput, dtype: DType): string | undefined => {
    if (name === "keyScale" || name === "keyMin" || name === "keyTail") return "vec4f";
    if (format !== undefined && (name === "key" || name === "value")) return "u32";
    if (name === "query" || name === "key" || name === "value") return isHalf(dtype) ? "vec4u" : "vec4f";
    return undefined;
  };
  return names.map((name, index) => {
    const dtype = types[index]?.dtype ?? "f32";
    const buffer = { name, memory: bufferAt(index), dtype, access: "read" } as const;
    const vector = element(name, dtype);
    return vector === undefined ? buffer : { ...buffer, element: vector };
  });
}

/**
 * `queryEight(at)`, `keyEight(row, position, complete, head, part)` and `valueEight(row, part)`: features 8 part to 8 part + 7 of a
 * row, widened to f32. The same of keys and values in two steps: `keyLoad` and `valueLoad`, of the types `KeyBits` and `ValueBits`, which
 * `keyWide` and `valueWide` widen where they are used: halves take half the registers until then. Twin: `keyAt` and `valueAt` of
 * cached-attention.wgsl.ts.
 */
export function eightFunctions(
  { format, valueDim: prefix }: CachedAttentionParams,
  {
    headDim,
    valueDim,
    dtypes,
  }: {
    headDim: number;
    valueDim: number;
    dtypes: { query: DType; key: DType; value: DType };
  },
): string {
  const keyArgs = "row: u32, position: u32, complete: u32, head: u32, part: u32";
  const read = (name: string, dtype: DType, at: string) =>
    isHalf(dtype)
      ? `let x = ${name}[${at}]; return Eight(${widened(dtype, "x", "xy")}, ${widened(dtype, "x", "zw")});`
      : `return Eight(${name}[2u * (${at})], ${name}[2u * (${at}) + 1u]);`;
  const query = `struct Eight { low: vec4f, high: vec4f };
fn queryEight(at: u32) -> Eight { ${read("query", dtypes.query, "at")} }`;
  if (format === undefined) {
    const from = prefix === undefined ? "value" : "key";
    const at = {
      key: `row * ${headDim / 8}u + part`,
      value: `row * ${(prefix === undefined ? valueDim : headDim) / 8}u + part`,
    };
    return `${query}
${inTwoSteps("Key", { name: "key", dtype: dtypes.key, at: at.key, args: keyArgs })}
${inTwoSteps("Value", { name: from, dtype: prefix === undefined ? dtypes.value : dtypes.key, at: at.value, args: "row: u32, part: u32" })}
fn keyEight(${keyArgs}) -> Eight { return keyWide(keyLoad(row, position, complete, head, part)); }
fn valueEight(row: u32, part: u32) -> Eight { return valueWide(valueLoad(row, part)); }`;
  }
  const { bits, group } = format;
  const codes = (name: string, width: number) =>
    bits === 8
      ? `let at = row * ${width / 4}u + part * 2u; let low = bytes(${name}[at]); let high = bytes(${name}[at + 1u]);`
      : `let word = ${name}[row * ${width / 8}u + part]; let low = nibbles(word); let high = nibbles(word >> 16u);`;
  return `${query}
alias KeyBits = Eight;
alias ValueBits = Eight;
fn keyLoad(${keyArgs}) -> KeyBits { return keyEight(row, position, complete, head, part); }
fn valueLoad(row: u32, part: u32) -> ValueBits { return valueEight(row, part); }
fn keyWide(x: Eight) -> Eight { return x; }
fn valueWide(x: Eight) -> Eight { return x; }
fn bytes(word: u32) -> vec4f { return vec4f(vec4u(word, word >> 8u, word >> 16u, word >> 24u) & vec4u(255u)); }
fn nibbles(word: u32) -> vec4f { return vec4f(vec4u(word, word >> 4u, word >> 8u, word >> 12u) & vec4u(15u)); }
fn keyEight(${keyArgs}) -> Eight {
  if (position >= complete) {
    let tail = (head * P.tail + position % P.tail) * ${headDim / 4}u + part * 2u;
    return Eight(keyTail[tail], keyTail[tail + 1u]);
  }
  ${codes("key", headDim)}
  let scales = (head * (P.maxSeqLen / ${group}u) + position / ${group}u) * ${headDim / 4}u + part * 2u;
  return Eight(keyMin[scales] + keyScale[scales] * low, keyMin[scales + 1u] + keyScale[scales + 1u] * high);
}
fn valueEight(row: u32, part: u32) -> Eight {
  ${codes("value", valueDim)}
  return Eight(load_valueMin(row) + load_valueScale(row) * low, load_valueMin(row) + load_valueScale(row) * high);
}`;
}

/** Loads of eight features as they lie, and what widens them. */
function inTwoSteps(
  kind: "Key" | "Value",
  {
    name,
    dtype,
    at,
    args,
  }: {
    readonly name: string;
    readonly dtype: DType;
    readonly at: string;
    readonly args: string;
  },
): string {
  const prefix = kind.toLowerCase();
  if (!isHalf(dtype)) {
    return `alias ${kind}Bits = Eight;
fn ${prefix}Load(${args}) -> Eight { return Eight(${name}[2u * (${at})], ${name}[2u * (${at}) + 1u]); }
fn ${prefix}Wide(x: Eight) -> Eight { return x; }`;
  }
  return `alias ${kind}Bits = vec4u;
fn ${prefix}Load(${args}) -> vec4u { return ${name}[${at}]; }
fn ${prefix}Wide(x: vec4u) -> Eight { return Eight(${widened(dtype, "x", "xy")}, ${widened(dtype, "x", "zw")}); }`;
}

/** Four half floats of two words as vec4f. */
function widened(dtype: DType, name: string, pair: "xy" | "zw"): string {
  const [a, b] = [...pair].map((lane) => `${name}.${lane}`);
  if (dtype === "f16") return `vec4f(unpack2x16float(${a}), unpack2x16float(${b}))`;
  return `bitcast<vec4f>(vec4u(${a} << 16u, ${a} & 0xffff0000u, ${b} << 16u, ${b} & 0xffff0000u))`;
}
