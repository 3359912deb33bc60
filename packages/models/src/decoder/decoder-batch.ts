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
  /** Tokens of one slot that the run takes as one row; 1 where each token is a row of its own. */
  readonly rowLength: number;
  readonly batch: DecoderBatch;
  /** For each output of the piece, its place among those of the whole batch. */
  readonly wanted: readonly number[];
}

/** A stretch of rows of a batch. */
interface Stretch {
  readonly start: number;
  readonly end: number;
}

/** Shortest piece of a prompt that is worth a plan of its own. */
const MIN_CHUNK = 8;

/**
 * Cuts a batch into runs of at most `maxRows` tokens: long stretches of one slot into chunks of the greatest power of two that
 * fits, and of a quarter of it, then all that is left into runs of one token a row. So few plans serve prompts of any length.
 */
export function piecesOf(batch: DecoderBatch, maxRows: number): readonly BatchPiece[] {
  const largest = 2 ** Math.floor(Math.log2(maxRows));
  const sizes = [largest, largest / 4].filter((size) => size >= MIN_CHUNK);
  const pieces: BatchPiece[] = [];
  const rest: number[] = [];
  for (const { start, end } of stretchesOf(batch.slots)) {
    let at = start;
    for (const size of sizes) {
      for (; end - at >= size; at += size) pieces.push(chunkOf(batch, { start: at, end: at + size }));
    }
    for (; at < end; at++) rest.push(at);
  }
  for (let at = 0; at < rest.length; at += maxRows) {
    pieces.push(singlesOf(batch, rest.slice(at, at + maxRows)));
  }
  return pieces;
}

/** Maximal stretches of rows of one slot. */
function stretchesOf(slots: Int32Array): Stretch[] {
  const stretches: Stretch[] = [];
  for (let start = 0, at = 1; at <= slots.length; at++) {
    if (at < slots.length && slots[at] === slots[start]) continue;
    stretches.push({ start, end: at });
    start = at;
  }
  return stretches;
}

/** Rows that follow each other in one slot, as one row of the run. Shares the batch's memory. */
function chunkOf({ tokens, positions, slots, outputs }: DecoderBatch, { start, end }: Stretch): BatchPiece {
  const found = outputsAmong(outputs, (row) => (row >= start && row < end ? row - start : undefined));
  return {
    rowLength: end - start,
    wanted: found.wanted,
    batch: {
      tokens: tokens.subarray(start, end),
      positions: positions.subarray(start, end),
      slots: slots.subarray(start, end),
      outputs: found.outputs,
    },
  };
}

/** Rows from anywhere in the batch, each a row of the run. */
function singlesOf({ tokens, positions, slots, outputs }: DecoderBatch, rows: readonly number[]): BatchPiece {
  const placeInPiece = new Map(rows.map((row, at) => [row, at]));
  const found = outputsAmong(outputs, (row) => placeInPiece.get(row));
  const pick = (values: Int32Array) => Int32Array.from(rows, (row) => values[row] ?? 0);
  return {
    rowLength: 1,
    wanted: found.wanted,
    batch: {
      tokens: pick(tokens),
      positions: pick(positions),
      slots: pick(slots),
      outputs: found.outputs,
    },
  };
}

/** The outputs whose rows a piece has: their places among those of the batch, and the rows' places in the piece. */
function outputsAmong(
  outputs: Int32Array,
  placeOf: (row: number) => number | undefined,
): { readonly wanted: readonly number[]; readonly outputs: Int32Array } {
  const wanted: number[] = [];
  const places: number[] = [];
  for (const [at, row] of outputs.entries()) {
    const place = placeOf(row);
    if (place === undefined) continue;
    wanted.push(at);
    places.push(place);
  }
  return { wanted, outputs: Int32Array.from(places) };
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

/** The least power of two that is at least `count`: plans are compiled for such numbers of rows. */
export function powerOfTwo(count: number): number {
  return count <= 1 ? 1 : 2 ** Math.ceil(Math.log2(count));
}

/** Whether a decoder has been disposed or is at work. */
export interface DecoderState {
  isStepping: boolean;
  isDisposed: boolean;
}

/** @throws HeddleError "disposed" or "config" for a decoder that cannot take a step now */
export function checkReady({ isStepping, isDisposed }: Readonly<DecoderState>): void {
  if (isDisposed) {
    const message = "step: the decoder must not have been disposed; got one that was. Make a new one.";
    throw new HeddleError("disposed", message);
  }
  if (isStepping) {
    const message = "step: calls must not overlap; got one while another runs. Await the first.";
    throw new HeddleError("config", message);
  }
}

/**
 * Whether slots that are to continue what `sources` hold differ from what they hold now; copying them may be spared else.
 *
 * @throws HeddleError "config" unless there is a slot for each slot
 */
export function isReordering(sources: Int32Array, numSlots: number): boolean {
  if (sources.length !== numSlots || sources.some((slot) => slot < 0 || slot >= numSlots)) {
    const message = `reorderSlots: sources must name one of ${numSlots} slots for each slot; got ${sources.join(", ")}. Give each slot itself to keep it.`;
    throw new HeddleError("config", message, { sources: Array.from(sources), numSlots });
  }
  return sources.some((source, slot) => source !== slot);
}
