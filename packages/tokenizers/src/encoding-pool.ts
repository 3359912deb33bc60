import { HeddleError } from "./error.js";
import { fromCompact, toCompact } from "./formats/compact.js";
import { joinValues } from "./join-values.js";
import type { EncodeIdsOptions, Tokenizer } from "./tokenizer.js";
import { listen } from "./training/counting-workers.js";
import type { WorkerLike } from "./training/worker-like.js";

type Request =
  | { readonly heddle: "encoding"; readonly kind: "open"; readonly bytes: Uint8Array }
  | {
      readonly heddle: "encoding";
      readonly kind: "texts";
      readonly number: number;
      readonly texts: readonly string[];
      readonly options: EncodeIdsOptions;
    };

/** Ids of all texts of a request end to end, and how many each has. */
type Reply =
  | {
      readonly heddle: "encoded";
      readonly kind: "ids";
      readonly number: number;
      readonly ids: Int32Array;
      readonly lengths: readonly number[];
    }
  | {
      readonly heddle: "encoded";
      readonly kind: "failed";
      readonly number: number;
      readonly message: string;
    };

/**
 * Makes a worker encode texts for pools that name it. Call it once in the worker's file.
 *
 * @param port  what reaches the main thread: `self` in a Web Worker, `parentPort` of node:worker_threads in Node
 */
export function serveEncoding(port: WorkerLike): void {
  let tokenizer: Tokenizer | null = null;
  listen(port, (message) => {
    const request = message as Request;
    if (request?.heddle !== "encoding") return;
    if (request.kind === "open") {
      tokenizer = fromCompact(request.bytes);
      return;
    }
    const { number } = request;
    try {
      port.postMessage({ heddle: "encoded", number, ...encodeTexts(tokenizer, request) } satisfies Reply);
    } catch (error) {
      port.postMessage({ heddle: "encoded", kind: "failed", number, message: String(error) } satisfies Reply);
    }
  });
}

function encodeTexts(
  tokenizer: Tokenizer | null,
  { texts, options }: Extract<Request, { kind: "texts" }>,
): { kind: "ids"; ids: Int32Array; lengths: number[] } {
  const parts = texts.map((text) => tokenizer?.encodeIds(text, options) ?? new Int32Array(0));
  const lengths = parts.map(({ length }) => length);
  return { kind: "ids", ids: joinValues(parts), lengths };
}

/** Encodes batches of texts on several threads. */
export interface EncodingPool {
  /** Ids of each text, in the order of the texts. */
  encodeIdsBatch(texts: readonly string[], options?: EncodeIdsOptions): Promise<Int32Array[]>;
  /** Stops listening; the workers stay the caller's. */
  close(): void;
}

/** Texts of about this many UTF-16 units travel together: small enough to share out, large enough to pay. */
const BATCH_UNITS = 1 << 16;

/**
 * Spreads the encoding of many texts over workers, each of which calls `serveEncoding`. The workers share the
 * vocabulary and merges in one SharedArrayBuffer where the platform has it (browsers: cross-origin isolated pages), and
 * get copies elsewhere.
 *
 * @throws HeddleError "config" without workers, "unsupported" for tokenizers that have no compact form
 */
export function createEncodingPool(tokenizer: Tokenizer, workers: readonly WorkerLike[]): EncodingPool {
  if (workers.length === 0) {
    throw new HeddleError(
      "config",
      "createEncodingPool: there must be at least one worker; got 0. Use tokenizer.encodeIds on this thread.",
      { numWorkers: 0 },
    );
  }
  const bytes = shared(toCompact(tokenizer));
  const waiting = new Map<
    number,
    { resolve: (ids: Int32Array[]) => void; reject: (error: HeddleError) => void }
  >();
  let nextNumber = 0;
  const take = (message: unknown): void => {
    const reply = message as Reply;
    if (reply?.heddle !== "encoded") return;
    const request = waiting.get(reply.number);
    waiting.delete(reply.number);
    if (reply.kind === "ids") request?.resolve(split(reply.ids, reply.lengths));
    else request?.reject(failure(reply.message));
  };
  const stops = workers.map((worker) => {
    worker.postMessage({ heddle: "encoding", kind: "open", bytes } satisfies Request);
    return listen(worker, take);
  });
  const send = (worker: WorkerLike, texts: readonly string[], options: EncodeIdsOptions) =>
    new Promise<Int32Array[]>((resolve, reject) => {
      const number = nextNumber++;
      waiting.set(number, { resolve, reject });
      worker.postMessage({ heddle: "encoding", kind: "texts", number, texts, options } satisfies Request);
    });
  return {
    async encodeIdsBatch(texts, options = {}) {
      const batches = inBatches(texts);
      const results: Int32Array[][] = [];
      let next = 0;
      const work = async (worker: WorkerLike): Promise<void> => {
        for (let i = next++; i < batches.length; i = next++) {
          results[i] = await send(worker, batches[i] as string[], options);
        }
      };
      await Promise.all(workers.map(work));
      return results.flat();
    },
    close() {
      for (const stop of stops) stop();
    },
  };
}

function shared(bytes: Uint8Array): Uint8Array {
  if (typeof SharedArrayBuffer === "undefined") return bytes;
  const copy = new Uint8Array(new SharedArrayBuffer(bytes.length));
  copy.set(bytes);
  return copy;
}

function inBatches(texts: readonly string[]): string[][] {
  const batches: string[][] = [];
  let units = BATCH_UNITS;
  for (const text of texts) {
    if (units >= BATCH_UNITS) {
      batches.push([]);
      units = 0;
    }
    batches.at(-1)?.push(text);
    units += text.length;
  }
  return batches;
}

function split(ids: Int32Array, lengths: readonly number[]): Int32Array[] {
  let end = 0;
  return lengths.map((length) => {
    end += length;
    return ids.slice(end - length, end);
  });
}

function failure(message: string): HeddleError {
  return new HeddleError(
    "config",
    `encodeIdsBatch: a worker must be able to encode the texts; got ${JSON.stringify(message)}. Check the texts, or encode on this thread.`,
    { message },
  );
}
