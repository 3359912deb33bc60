import { type Device, disposeTree, type Tensor, tensor } from "@heddle/tensor";
import { checkBatch, checkReady, type DecoderBatch, type DecoderState } from "./decoder-batch.js";

/** A piece of a batch on the device, and for each of its outputs the place among those of the batch. */
export interface UploadedPiece<Inputs> {
  readonly inputs: Inputs;
  readonly wanted: readonly number[];
}

/** Reads what is asked of the first `count` outputs, hidden states [O, E] and logits [O, V]; borrows the tensors. */
export type ReadOutputs<Output> = (
  found: { readonly hidden: Tensor; readonly logits: Tensor },
  count: number,
) => Promise<readonly Output[]>;

/** Runs one piece on inputs that it borrows: as many results as are wanted. */
export type RunPiece<Inputs, Output> = (
  inputs: Inputs,
  wanted: readonly number[],
) => Promise<readonly Output[]>;

/**
 * Runs the pieces of a batch one after another and puts what they give for the outputs in the outputs' order.
 *
 * @throws HeddleError for a batch that the decoder cannot take, or while it takes another; no input stays allocated
 */
export async function runPieces<Piece, Inputs, Output>(
  state: DecoderState,
  {
    batch,
    limits,
    pieces,
    upload,
  }: {
    readonly batch: DecoderBatch;
    readonly limits: Parameters<typeof checkBatch>[1];
    readonly pieces: () => readonly Piece[];
    readonly upload: (piece: Piece) => UploadedPiece<Inputs>;
  },
  run: RunPiece<Inputs, Output>,
): Promise<Output[]> {
  checkReady(state);
  checkBatch(batch, limits);
  state.isStepping = true;
  try {
    const found: Output[] = new Array(batch.outputs.length);
    for (const piece of pieces()) {
      const { inputs, wanted } = upload(piece);
      try {
        for (const [at, output] of (await run(inputs, wanted)).entries()) found[wanted[at] ?? 0] = output;
      } finally {
        disposeTree(inputs);
      }
    }
    return found;
  } finally {
    state.isStepping = false;
  }
}

/** Uploads whole numbers, filled up to the size of a plan's input; i32, [length] unless `shape` says otherwise. */
export function uploadFilled(
  device: Device,
  values: ArrayLike<number>,
  {
    length,
    filler = 0,
    shape = [length],
  }: { readonly length: number; readonly filler?: number; readonly shape?: readonly number[] },
): Tensor {
  const whole = new Int32Array(length).fill(filler);
  whole.set(values);
  return tensor(device, whole, { shape });
}
