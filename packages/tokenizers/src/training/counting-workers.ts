import { HeddleError } from "../error.js";
import { TextCounter, type WordSource } from "./text-counter.js";
import type { WorkerLike } from "./worker-like.js";

type Request =
  | { readonly heddle: "training"; readonly kind: "open"; readonly source: WordSource }
  | { readonly heddle: "training"; readonly kind: "texts"; readonly texts: readonly string[] }
  | { readonly heddle: "training"; readonly kind: "counts" };

type Reply =
  | { readonly heddle: "trained"; readonly kind: "done" }
  | {
      readonly heddle: "trained";
      readonly kind: "counts";
      readonly words: string[];
      readonly counts: number[];
    }
  | { readonly heddle: "trained"; readonly kind: "failed"; readonly message: string };

/**
 * Makes a worker count words for trainings that name it in `workers`. Call it once in the worker's file.
 *
 * @param port  what reaches the main thread: `self` in a Web Worker, `parentPort` of node:worker_threads in Node
 */
export function serveTraining(port: WorkerLike): void {
  let counter: TextCounter | null = null;
  listen(port, (message) => {
    const request = message as Request;
    if (request?.heddle !== "training") return;
    const reply = (value: Reply) => port.postMessage(value);
    try {
      if (request.kind === "open") counter = new TextCounter(request.source);
      if (request.kind === "texts") for (const text of request.texts) counter?.add(text);
      if (request.kind === "counts") {
        const counts = counter?.counts ?? new Map<string, number>();
        reply({ heddle: "trained", kind: "counts", words: [...counts.keys()], counts: [...counts.values()] });
      } else {
        reply({ heddle: "trained", kind: "done" });
      }
    } catch (error) {
      reply({ heddle: "trained", kind: "failed", message: String(error) });
    }
  });
}

/** Calls `take` with each message of a port; returns how to stop. */
export function listen(port: WorkerLike, take: (message: unknown) => void): () => void {
  if (port.on !== undefined) {
    port.on("message", take);
    return () => port.off?.("message", take);
  }
  const onEvent = (event: Event) => {
    if ("data" in event) take(event.data);
  };
  port.addEventListener?.("message", onEvent);
  return () => port.removeEventListener?.("message", onEvent);
}

/** Texts of about this many UTF-16 units travel together. */
const BATCH_UNITS = 1 << 16;

/** Spreads texts over workers, at most two batches waiting at each, so that memory stays bounded. */
export class CountingPool {
  private readonly lines: WorkerLine[];
  private batch: string[] = [];
  private units = 0;

  constructor(workers: readonly WorkerLike[], source: WordSource) {
    this.lines = workers.map((worker) => new WorkerLine(worker));
    for (const line of this.lines) line.send({ heddle: "training", kind: "open", source });
  }

  /** Takes a text; awaits a free worker where all are busy. */
  add(text: string): Promise<void> | null {
    this.batch.push(text);
    this.units += text.length;
    return this.units < BATCH_UNITS ? null : this.flush();
  }

  /** Collects the counts of all workers. */
  async counts(): Promise<(readonly [string, number])[]> {
    await this.flush();
    const entries: (readonly [string, number])[] = [];
    const replies = await Promise.all(
      this.lines.map((line) => line.send({ heddle: "training", kind: "counts" })),
    );
    for (const reply of replies) {
      if (reply.kind !== "counts") continue;
      for (const [i, word] of reply.words.entries()) entries.push([word, reply.counts[i] as number]);
    }
    return entries;
  }

  close(): void {
    for (const line of this.lines) line.close();
  }

  private async flush(): Promise<void> {
    if (this.batch.length === 0) return;
    const texts = this.batch;
    this.batch = [];
    this.units = 0;
    const line = this.lines.reduce((a, b) => (b.numWaiting < a.numWaiting ? b : a));
    const sent = line.send({ heddle: "training", kind: "texts", texts });
    // A failure shows where the counts are collected, too.
    sent.catch(() => {});
    if (line.numWaiting > 2) await line.oldest();
  }
}

/** Requests to one worker and the promises of their replies, which come in order. */
class WorkerLine {
  private readonly promises: Promise<Reply>[] = [];
  private readonly waiting: {
    readonly resolve: (reply: Reply) => void;
    readonly reject: (error: HeddleError) => void;
  }[] = [];
  readonly close: () => void;

  constructor(private readonly worker: WorkerLike) {
    this.close = listen(worker, (message) => {
      const reply = message as Reply;
      if (reply?.heddle !== "trained") return;
      const first = this.waiting.shift();
      if (reply.kind === "failed") first?.reject(failure(reply.message));
      else first?.resolve(reply);
    });
  }

  get numWaiting(): number {
    return this.waiting.length;
  }

  oldest(): Promise<Reply> | undefined {
    return this.promises[0];
  }

  send(request: Request): Promise<Reply> {
    const promise = new Promise<Reply>((resolve, reject) => {
      this.waiting.push({ resolve, reject });
    });
    this.promises.push(promise);
    promise.finally(() => this.promises.shift()).catch(() => {});
    this.worker.postMessage(request);
    return promise;
  }
}

function failure(message: string): HeddleError {
  return new HeddleError(
    "config",
    `training: a worker must be able to count the words; got ${JSON.stringify(message)}. Check normalizer and preTokenizer, or train without workers.`,
    { message },
  );
}
