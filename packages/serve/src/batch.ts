import type { StepPart } from "./scheduler.js";

/** The packed inputs of one decoder step: row i is `tokens[i]` at `positions[i]` of the sequence in `slots[i]`. */
export interface StepBatch {
  readonly tokens: Int32Array;
  readonly positions: Int32Array;
  readonly slots: Int32Array;
  /** Rows whose logits are wanted, in the order of the parts that need them. */
  readonly outputs: Int32Array;
}

/** Packs the parts of a step: rows of one request are consecutive and in order. */
export function packBatch(parts: readonly StepPart[]): StepBatch {
  const numRows = parts.reduce((sum, part) => sum + part.count, 0);
  const tokens = new Int32Array(numRows);
  const positions = new Int32Array(numRows);
  const slots = new Int32Array(numRows);
  const outputs: number[] = [];
  let row = 0;
  for (const { request, slot, start, count, needsLogits } of parts) {
    for (let i = 0; i < count; i++) {
      tokens[row + i] = request.tokens[start + i] ?? 0;
      positions[row + i] = start + i;
    }
    slots.fill(slot, row, row + count);
    row += count;
    if (needsLogits) outputs.push(row - 1);
  }
  return { tokens, positions, slots, outputs: Int32Array.from(outputs) };
}
