import { HeddleError } from "@heddle/tensor";

/** Tokens of any number of sequences. Row i is the token at `positions[i]` of the sequence in `slots[i]`. */
export interface DecoderBatch {
  readonly tokens: Int32Array;
  /** Rows of one slot follow each other without a gap: a piece of a prompt, or one new token. */
  readonly positions: Int32Array;
  readonly slots: Int32Array;
  /** Rows whose logits are wanted. */
  readonly outputs: Int32Array;
}

/** Part of a batch that one run of the model takes. */
export interface BatchPiece {
  readonly batch: DecoderBatch;
  /** For each output of the piece, its place among those of the whole batch. */
  readonly wanted: readonly number[];
}

/** Cuts a batch into runs of at most `maxRows` rows. */
export function* piecesOf(
  { tokens, positions, slots, outputs }: DecoderBatch,
  maxRows: number,
): Generator<BatchPiece> {
  for (let start = 0; start < tokens.length; start += maxRows) {
    const end = Math.min(start + maxRows, tokens.length);
    const wanted = [...outputs.keys()].filter((place) => {
      const row = outputs[place] ?? -1;
      return row >= start && row < end;
    });
    yield {
      wanted,
      batch: {
        tokens: tokens.subarray(start, end),
        positions: positions.subarray(start, end),
        slots: slots.subarray(start, end),
        outputs: Int32Array.from(wanted, (place) => (outputs[place] ?? 0) - start),
      },
    };
  }
}

/**
 * Checks a batch against a decoder's sizes.
 *
 * @throws HeddleError "shape" for lists of different lengths, "capacity" for a position that the cache does not have, "config"
 *   for tokens, slots and outputs that do not exist
 */
export function checkBatch(
  { tokens, positions, slots, outputs }: DecoderBatch,
  limits: { readonly numSlots: number; readonly maxSeqLen: number; readonly vocabSize: number },
): void {
  if (positions.length !== tokens.length || slots.length !== tokens.length) {
    const got = `tokens ${tokens.length}, positions ${positions.length}, slots ${slots.length}`;
    const message = `step: tokens, positions and slots must be of one length; got ${got}. Pass one of each a row.`;
    throw new HeddleError("shape", message, { tokens: tokens.length });
  }
  checkRange("token", tokens, limits.vocabSize);
  checkRange("position", positions, limits.maxSeqLen);
  checkRange("slot", slots, limits.numSlots);
  checkRange("output", outputs, tokens.length);
}

function checkRange(name: string, values: Int32Array, limit: number): void {
  const at = values.findIndex((value) => value < 0 || value >= limit);
  if (at < 0) return;
  const code = name === "position" ? "capacity" : "config";
  const message = `step: each ${name} must be below ${limit}; got ${values[at]} at index ${at}. Check the batch against the decoder's sizes.`;
  throw new HeddleError(code, message, { [name]: values[at], limit });
}
