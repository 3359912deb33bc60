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

/** One kernel call, ready but for its slots and its range: `runFrom(address of the args, begin, end)`. */
export interface StageStep {
  /** Index of the module in the pool. */
  readonly module: number;
  /** Arguments but begin and end, as words; those of slots are filled in at each call. */
  readonly args: readonly number[];
  /** Triples: index into `args`, slot, byte offset. */
  readonly patches: readonly number[];
  readonly units: number;
}

/** Steps without a barrier between them: on one thread one after the other, or each cut into chunks for all threads. */
export interface Stage {
  readonly chunks: number;
  /** Whether chunks grow smaller towards the end, so that threads end together; else they are of one size. */
  readonly isTapered: boolean;
  /** Parts of the units, equally large, whose chunks are taken in turns; a divisor of `chunks`. So threads that are equally fast each go on in a part. */
  readonly parts: number;
  readonly steps: readonly StageStep[];
}

/** Where the chunk that is taken as number `taken` lies among the chunks. Its twin is in the worker's source. */
export function placeOf({ chunks, parts }: Pick<Stage, "chunks" | "parts">, taken: number): number {
  return (taken % parts) * (chunks / parts) + Math.floor(taken / parts);
}

/**
 * First of a step's units in the chunk at a place; with the number of chunks the end of the last. Tapered, the chunks of a part that
 * are not yet taken hold the square of their share, unless single units are small enough. Its twin is in the worker's source.
 */
export function firstUnit(
  units: number,
  { chunks, isTapered, parts }: Pick<Stage, "chunks" | "isTapered" | "parts">,
  place: number,
): number {
  const each = chunks / parts;
  const part = Math.floor(place / each);
  const left = 1 - (place % each) / each;
  return Math.round((units / parts) * (part + 1 - (isTapered && units > chunks ? left * left : left)));
}

/** What the pool tells its workers; each message counts once in `controlWords.messages`. */
export type WorkerMessage =
  | {
      readonly kind: "start";
      readonly memory: WebAssembly.Memory;
      readonly control: number;
      readonly dispatcher: WebAssembly.Module;
      /** Address of the thread's own `MAX_ARGUMENT_BYTES`. */
      readonly args: number;
    }
  | {
      readonly kind: "plan";
      readonly id: number;
      readonly stages: readonly Stage[];
      readonly modules: readonly { readonly index: number; readonly module: WebAssembly.Module }[];
    }
  | { readonly kind: "drop"; readonly id: number };
