/**
 * The words of shared memory by which threads agree on what to do next. Word indices of an Int32Array over the control
 * block; words that several threads write are a cache line apart.
 *
 * `ticket` = sequence number of the running stage (22 bits) and the next chunk of it to take (10 bits). A thread takes a chunk
 * by counting the ticket up; a ticket whose chunk is `CLOSED_CHUNK` says that nothing runs.
 */
export const controlWords = {
  ticket: 0,
  /** Chunks of the running stage that are done. */
  done: 16,
  /** Workers asleep on `ticket`. */
  sleepers: 32,
  /** 1 while the calling thread sleeps on this word. */
  callerAsleep: 48,
  /** Id of the running plan and the sequence number of its first stage. */
  plan: 64,
  base: 65,
  /** Messages posted to each worker so far: one that has read fewer returns to its event loop. */
  messages: 80,
  /** 1 after a kernel trapped; then the length of the text that says why. */
  failed: 96,
  failureLength: 97,
  /** Chunks that workers have done since the pool began. */
  workerChunks: 100,
  failureText: 112,
  slots: 256,
} as const;

export const CHUNK_BITS = 10;
export const CLOSED_CHUNK = 1023;
export const SEQUENCE_MASK = 0x3f_ffff;
/** Most chunks of a stage. */
export const MAX_CHUNKS = 1000;
/** Room for the text of a failure, in bytes. */
export const MAX_FAILURE_BYTES = (controlWords.slots - controlWords.failureText) * 4;
/** Most slot addresses that fit the control block; a plan with more runs on the calling thread. */
export const MAX_SLOTS = 16_128;
export const CONTROL_BYTES = (controlWords.slots + MAX_SLOTS) * 4;

/** One kernel call, ready but for its slots and its range: `run(...args, begin, end)`. */
export interface StageStep {
  /** Index of the module in the pool. */
  readonly module: number;
  /** Arguments, with room for begin and end; those of slots are filled in at each run. */
  readonly args: number[];
  /** Triples: index into `args`, slot, byte offset. */
  readonly patches: readonly number[];
  readonly units: number;
}

/** Steps without a barrier between them: on one thread one after the other, or each cut into chunks for all threads. */
export interface Stage {
  readonly chunks: number;
  /** Whether chunks grow smaller towards the end, so that threads end together; else they are of one size. */
  readonly isTapered: boolean;
  readonly steps: readonly StageStep[];
}

/**
 * First of a step's units in a chunk; with the number of chunks the end of the last. Tapered, the chunks not yet taken hold the
 * square of their share, unless single units are small enough. Its twin is in the worker's source.
 */
export function firstUnit(
  units: number,
  { chunks, isTapered }: Pick<Stage, "chunks" | "isTapered">,
  chunk: number,
): number {
  const left = 1 - chunk / chunks;
  return Math.round(units * (1 - (isTapered && units > chunks ? left * left : left)));
}

/** What the pool tells its workers; each message counts once in `controlWords.messages`. */
export type WorkerMessage =
  | { readonly kind: "start"; readonly memory: WebAssembly.Memory; readonly control: number }
  | {
      readonly kind: "plan";
      readonly id: number;
      readonly stages: readonly Stage[];
      readonly modules: readonly { readonly index: number; readonly module: WebAssembly.Module }[];
    }
  | { readonly kind: "drop"; readonly id: number };
