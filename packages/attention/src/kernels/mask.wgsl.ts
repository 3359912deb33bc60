import type { TensorType } from "@heddle/tensor";
import { type BufferUse, bufferAt } from "@heddle/tensor/kernel";
import type { MaskRule } from "../mask-rule.js";

/** Buffers of a mask's tensors: `mask0`, `mask1`, .. */
export function maskBuffers(inputs: readonly TensorType[], indices: readonly number[]): BufferUse[] {
  return indices.map((index, i) => ({
    name: `mask${i}`,
    memory: bufferAt(index),
    dtype: inputs[index]?.dtype ?? "bool",
    access: "read",
  }));
}

/**
 * Writes `sees(b, h, i, j)`: whether query i sees key j, i below P.queryLen, j below P.keyLen, p = i + offset the query's position.
 * The uniform P holds numHeads, queryLen and keyLen. Twin: `seenKeys`.
 */
export function seesFunction(rule: MaskRule | undefined): string {
  return `fn floorDivide(a: i32, b: i32) -> i32 { return select(a / b, (a - b + 1) / b, a < 0); }
fn sees(b: u32, h: u32, i: u32, j: u32, offset: i32) -> bool {
  let p = i32(i) + offset;
  let k = i32(j);
  return ${rule === undefined ? "true" : ruleText(rule)};
}`;
}

function ruleText(rule: MaskRule): string {
  switch (rule.kind) {
    case "band": {
      const left = rule.left === undefined ? "true" : `k + ${rule.left} >= p`;
      const right = rule.right === undefined ? "true" : `k <= p + ${rule.right}`;
      return `(${left} && ${right})`;
    }
    case "chunk":
      return `(floorDivide(p, ${rule.size}) == floorDivide(k, ${rule.size}))`;
    case "firstKeys":
      return `(k < ${rule.count})`;
    case "keysBelow":
      return `(k < load_mask${rule.input}(b))`;
    case "stride":
      return `(floorDivide(p - k, ${rule.period}) * ${rule.period} == p - k)`;
    case "columns":
      return `(k % ${rule.period} >= ${rule.period - rule.count})`;
    case "keys":
      return `load_mask${rule.input}(b * P.keyLen + j)`;
    case "queries":
      return `load_mask${rule.input}(b * P.queryLen + i)`;
    case "documents": {
      const id = (at: string) => `load_mask${rule.input}(b * P.keyLen + ${at})`;
      return `(${id("u32(p)")} == ${id("j")} && ${id("j")} >= 0)`;
    }
    case "blocks": {
      const blocks = (length: string) => `((${length} + ${rule.size - 1}u) / ${rule.size}u)`;
      const head = rule.perHead ? `h * ${blocks("P.queryLen")}` : "0u";
      const row = `(${head} + i / ${rule.size}u) * ${blocks("P.keyLen")}`;
      return `load_mask${rule.input}(${row} + j / ${rule.size}u)`;
    }
    case "dense": {
      const batch = rule.perBatch ? (rule.perHead ? "b * P.numHeads" : "b") : "0u";
      const matrix = `(${batch} + ${rule.perHead ? "h" : "0u"})`;
      return `load_mask${rule.input}((${matrix} * P.queryLen + i) * P.keyLen + j)`;
    }
    case "all":
    case "any":
      return `(${rule.rules.map(ruleText).join(rule.kind === "all" ? " && " : " || ")})`;
    default:
      return rule satisfies never;
  }
}
