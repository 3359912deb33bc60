import { invariant } from "@heddle/tensor";
import type { GgufFamily, GgufWeightRule } from "./gguf-family.js";

/** The rule that a tensor's name comes from. */
export function ruleOf({ rules }: GgufFamily, name: string): GgufWeightRule {
  const generic = name.replace(/^blk\.\d+\./, "blk.*.");
  const rule = rules.find((candidate) => candidate.name === generic);
  invariant(rule, `${name} has a rule`);
  return rule;
}
