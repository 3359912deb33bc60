import type { SentencePieceProcessor } from "sentencepiece-js";
import { HeddleError } from "../error.js";
import { listen } from "../training/counting-workers.js";
import type { WorkerLike } from "../training/worker-like.js";

export type { WorkerLike };

type Request =
  | {
      readonly heddle: "sentencepiece-js";
      readonly number: number;
      readonly kind: "load";
      readonly path: string;
    }
  | {
      readonly heddle: "sentencepiece-js";
      readonly number: number;
      readonly kind: "encode";
      readonly text: string;
    }
  | {
      readonly heddle: "sentencepiece-js";
      readonly number: number;
      readonly kind: "decode";
      readonly ids: readonly number[];
    };

interface Reply {
  readonly heddle: "sentencepiece-js-reply";
  readonly number: number;
  readonly value?: unknown;
  /** What went wrong. */
  readonly message?: string;
}

/**
 * Makes a worker run the SentencePiece library (its WebAssembly build, the package sentencepiece-js) for
 * `openSentencePieceJs`. It belongs in a worker of its own: the library catches the uncaught errors of its thread.
 *
 * @param port  what reaches the main thread: `parentPort` of node:worker_threads
 */
export function serveSentencePieceJs(port: WorkerLike): void {
  let processor: SentencePieceProcessor | null = null;
  const answer = async (request: Request): Promise<unknown> => {
    if (request.kind === "load") {
      const loading = new (await library()).SentencePieceProcessor();
      await loading.load(request.path);
      processor = loading;
      return undefined;
    }
    if (processor === null) throw new Error("no model is loaded");
    if (request.kind === "encode") return processor.encodeIds(request.text);
    return processor.decodeIds([...request.ids]);
  };
  listen(port, async (message) => {
    const request = message as Request;
    if (request?.heddle !== "sentencepiece-js") return;
    const reply = { heddle: "sentencepiece-js-reply", number: request.number } as const;
    try {
      port.postMessage({ ...reply, value: await answer(request) } satisfies Reply);
    } catch (error) {
      port.postMessage({ ...reply, message: String(error) } satisfies Reply);
    }
  });
}

/** The optional package, looked for when the worker loads its first model. */
async function library() {
  try {
    return await import("sentencepiece-js");
  } catch (error) {
    throw new Error(`the package sentencepiece-js cannot be loaded; install it (${String(error)})`);
  }
}

/** The part of a Tokenizer that the SentencePiece library can do, from another thread. */
export interface SentencePieceJs {
  encodeIds(text: string): Promise<Int32Array>;
  countTokens(text: string): Promise<number>;
  decode(ids: Iterable<number>): Promise<string>;
  /** Stops listening; the worker stays the caller's. */
  close(): void;
}

/**
 * Opens a SentencePiece `.model` in the SentencePiece library itself, to compare with `fromSentencePiece` or to go on
 * using what it does.
 *
 * @param path  where the file lies; the worker reads it (in Node: the library reads no other way)
 * @param worker  a worker that calls `serveSentencePieceJs`
 * @throws HeddleError "format" if the library cannot load the model; "config" from the methods where it fails
 */
export async function openSentencePieceJs(path: string, worker: WorkerLike): Promise<SentencePieceJs> {
  const waiting = new Map<number, (reply: Reply) => void>();
  let next = 0;
  const close = listen(worker, (message) => {
    const reply = message as Reply;
    if (reply?.heddle !== "sentencepiece-js-reply") return;
    waiting.get(reply.number)?.(reply);
    waiting.delete(reply.number);
  });
  const ask = (request: Pick<Request, "kind"> & Record<string, unknown>): Promise<Reply> =>
    new Promise((resolve) => {
      const number = next++;
      waiting.set(number, resolve);
      worker.postMessage({ heddle: "sentencepiece-js", number, ...request });
    });
  const loaded = await ask({ kind: "load", path });
  if (loaded.message !== undefined) {
    close();
    throw failure("openSentencePieceJs", "format", loaded.message);
  }
  const taken = ({ value, message }: Reply, caller: string): unknown => {
    if (message !== undefined) throw failure(caller, "config", message);
    return value;
  };
  const encodeIds = async (text: string): Promise<Int32Array> =>
    Int32Array.from(taken(await ask({ kind: "encode", text }), "encodeIds") as number[]);
  return {
    encodeIds,
    countTokens: async (text) => (await encodeIds(text)).length,
    decode: async (ids) => taken(await ask({ kind: "decode", ids: [...ids] }), "decode") as string,
    close,
  };
}

function failure(caller: string, code: "format" | "config", message: string): HeddleError {
  return new HeddleError(
    code,
    `${caller}: the SentencePiece library must accept what it gets; got ${JSON.stringify(message)}. Compare with fromSentencePiece.`,
    { message },
  );
}
