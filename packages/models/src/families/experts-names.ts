import type { WeightRule } from "./family.js";
import { linears, one } from "./names.js";

/** Experts stored one by one, as all checkpoints of before 2025 do: `PREFIX.experts.3.gate_proj.weight`. */
export function separateExperts(
  prefix: string,
  {
    gate = "gate_proj",
    up = "up_proj",
    down = "down_proj",
  }: { gate?: string; up?: string; down?: string } = {},
): WeightRule[] {
  return Object.entries({ gate, up, down }).map(([ours, theirs]) =>
    one(`layers.*.experts.${ours}.weight[*]`, `model.layers.*.${prefix}.experts.*.${theirs}.weight`),
  );
}

/** The expert that sees every token, under Llama's names for its matrices. */
export function sharedExpert(prefix: string): WeightRule[] {
  return linears("layers.*.experts.shared", `model.layers.*.${prefix}`, {
    gate: "gate_proj",
    up: "up_proj",
    down: "down_proj",
  });
}

export const router = (name: string): WeightRule =>
  one("layers.*.experts.router.weight", `model.layers.*.${name}.weight`);
