import { arange, defineOp, type Op, type Tensor, where, writeInto } from "@heddle/tensor";
import { advanceStateWgsl } from "./kernels/advance-state.wgsl.js";

/** Where sequences stand that go on by themselves on a device; every step moves it on in place. */
export interface AheadState {
  /** Last token and its position, i32 [1] each. */
  readonly token: Tensor;
  readonly position: Tensor;
  /** The row of `ring` that the next step writes, i32 [1]. */
  readonly row: Tensor;
  /** Tokens and log-probabilities of the last steps, f32 [R, 2]. */
  readonly ring: Tensor;
}

/** Inputs: token, position, row, ring, then what the step made: the next token i32 [1] and its result f32 [1, 2]. */
const advanceStateOp: Op<object> = defineOp({
  name: "advanceState",
  infer: () => [],
  mutates: [0, 1, 2, 3],
  reference([token, position, row, ring, next, result]) {
    if (!token || !position || !row || !ring || !next || !result) return [];
    const numRows = ring.shape[0] ?? 1;
    const rows = arange(ring.device, numRows, { dtype: "i32" }).expandDims(1);
    writeInto(ring, where(rows.equal(row), result, ring));
    writeInto(token, next);
    writeInto(position, position.add(1));
    writeInto(row, where(row.equal(numRows - 1), 0, row.add(1)));
    return [];
  },
  kernels: { wgsl: ({ inputs: [, , , ring] }) => ring && advanceStateWgsl(ring) },
});

/** Takes the token that a step made as the last one and records its result, in place. */
export function advanceState(
  { token, position, row, ring }: AheadState,
  made: { readonly tokens: Tensor; readonly results: Tensor },
): void {
  advanceStateOp.apply([token, position, row, ring, made.tokens, made.results], {});
}
