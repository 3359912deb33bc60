import type { Tensor } from "@heddle/tensor";
import { checkBatch, checkReady, type DecoderBatch, type DecoderState } from "./decoder-batch.js";

/** What a piece of a batch gives: for each of its outputs the place among those of the batch. */
export interface PieceOutputs<Output> {
  readonly wanted: readonly number[];
  readonly outputs: readonly Output[];
}

/** Reads what is asked of the first `count` outputs, hidden states [O, E] and logits [O, V]; borrows the tensors. */
export type ReadOutputs<Output> = (
  found: { readonly hidden: Tensor; readonly logits: Tensor },
  count: number,
) => Promise<readonly Output[]>;

/**
 * Runs the pieces of a batch one after another and puts what they give for the outputs in the outputs' order.
 *
 * @throws HeddleError for a batch that the decoder cannot take, or while it takes another
 */
export async function runPieces<Piece, Output>(
  state: DecoderState,
  {
    batch,
    limits,
    pieces,
  }: {
    readonly batch: DecoderBatch;
    readonly limits: Parameters<typeof checkBatch>[1];
    readonly pieces: () => readonly Piece[];
  },
  run: (piece: Piece) => Promise<PieceOutputs<Output>>,
): Promise<Output[]> {
  checkReady(state);
  checkBatch(batch, limits);
  state.isStepping = true;
  try {
    const found: Output[] = new Array(batch.outputs.length);
    for (const piece of pieces()) {
      const { wanted, outputs } = await run(piece);
      for (const [at, output] of outputs.entries()) found[wanted[at] ?? 0] = output;
    }
    return found;
  } finally {
    state.isStepping = false;
  }
}
