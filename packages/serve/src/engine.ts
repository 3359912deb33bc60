import type { Decoder, SampledToken, TokenChoice } from "@heddle/models";
import { HeddleError, nextTurn } from "@heddle/tensor";
import { createRequest, type EngineTokenizer } from "./admission.js";
import { packBatch } from "./batch.js";
import { createMeter, type EngineEvent, type MeterReading } from "./metrics.js";
import {
  type FinishReason,
  type GenerationOptions,
  numGenerated,
  type Request,
  type TokenEvent,
} from "./request.js";
import { createScheduler, type Scheduler, type StepPart } from "./scheduler.js";
import { createSlotPool, type SlotPool } from "./slot-pool.js";
import type { TextPiece } from "./stream.js";

/** What an engine drives, and its limits. */
export interface EngineOptions {
  /** Borrowed: the caller disposes it, after the engine. */
  readonly decoder: Decoder;
  readonly tokenizer: EngineTokenizer;
  /** Tokens that end a text. */
  readonly endOfTextIds: readonly number[];
  /** Most requests that wait for a slot; one more is refused with "capacity". Default 256. */
  readonly maxQueued?: number;
  /** Most tokens in one step; more than the decoder's slots. Default 256 more than those. */
  readonly maxTokensPerStep?: number;
  /** Tokens of one prompt that a step takes before the next prompt has its turn. Default 64. */
  readonly prefillChunk?: number;
  /** Clock in milliseconds; default `performance.now`. */
  readonly now?: () => number;
}

/** A running answer: iterate it for tokens. Leaving the loop early cancels it. */
export interface Generation extends AsyncIterable<TokenEvent> {
  readonly id: string;
  readonly numPromptTokens: number;
  cancel(): void;
}

/** A picture of the engine at one moment. */
export interface EngineStats extends MeterReading {
  readonly queued: number;
  readonly running: number;
  readonly prefilling: number;
  readonly decoding: number;
  readonly slots: { readonly used: number; readonly total: number };
  /** Positions of the key/value cache that hold tokens of running requests. */
  readonly cacheTokens: { readonly used: number; readonly total: number };
  readonly cacheBytes: number;
  readonly isDraining: boolean;
  readonly uptimeMs: number;
}

/** Serves many requests with one decoder. */
export interface Engine {
  readonly maxSeqLen: number;
  readonly vocabSize: number;
  /**
   * Queues a request and returns its stream of tokens.
   *
   * @throws HeddleError "config" for options that cannot work, "capacity" when the queue is full or draining
   * The iteration itself throws the signal's reason when cancelled, and "device" when the decoder failed.
   */
  add(options: GenerationOptions): Generation;
  stats(): EngineStats;
  /** Calls the listener at every event until the returned function is called. */
  subscribe(listener: (event: EngineEvent) => void): () => void;
  /** Refuses new requests, finishes the accepted ones (cancels them after `timeoutMs`), and resolves when idle. */
  drain(options?: { readonly timeoutMs?: number }): Promise<void>;
}

/**
 * Creates an engine with continuous batching: new requests join and finished ones leave between any two steps.
 *
 * Start reading at `step`: schedule -> run -> sample -> finish.
 *
 * @see Yu et al. 2022, Orca (OSDI 22). Twin: reference/engine.ts, one request at a time.
 */
export function createEngine(options: EngineOptions): Engine {
  return new BatchingEngine(options);
}

/** What a step gives for an output: a chosen token, or logits to choose one by. */
type StepOutput = SampledToken | Float32Array;

class BatchingEngine implements Engine {
  readonly maxSeqLen: number;
  readonly vocabSize: number;
  readonly #options: EngineOptions;
  readonly #slots: SlotPool;
  readonly #scheduler: Scheduler;
  readonly #endOfText: ReadonlySet<number>;
  readonly #meter = createMeter();
  readonly #listeners = new Set<(event: EngineEvent) => void>();
  readonly #now: () => number;
  readonly #startedAt: number;
  /** Waiting and running requests, with what undoes their subscription to a signal. */
  readonly #live = new Map<Request, () => void>();
  /** Requests cancelled while a step that writes to their slot was in flight. */
  readonly #cancelled = new Set<Request>();
  readonly #idleWaiters: (() => void)[] = [];
  #numAdded = 0;
  #isLooping = false;
  #isStepping = false;
  #isDraining = false;

  constructor(options: EngineOptions) {
    const { decoder, maxQueued = 256, prefillChunk = 64 } = options;
    const maxTokensPerStep = options.maxTokensPerStep ?? decoder.numSlots + 256;
    checkLimits({ numSlots: decoder.numSlots, maxQueued, maxTokensPerStep, prefillChunk });
    this.maxSeqLen = decoder.maxSeqLen;
    this.vocabSize = decoder.vocabSize;
    this.#options = options;
    this.#slots = createSlotPool(decoder.numSlots);
    this.#scheduler = createScheduler({
      slots: this.#slots,
      maxQueued,
      maxTokensPerStep,
      prefillChunk,
      takesWholePrompts: decoder.feedPrefix !== undefined,
    });
    this.#endOfText = new Set(options.endOfTextIds);
    this.#now = options.now ?? (() => performance.now());
    this.#startedAt = this.#now();
  }

  add(options: GenerationOptions): Generation {
    options.signal?.throwIfAborted();
    this.#refuseWhileDraining();
    const request: Request = createRequest(options, {
      id: `${++this.#numAdded}`,
      limits: this,
      tokenizer: this.#options.tokenizer,
      decoder: this.#options.decoder,
      onAbandon: () => this.#cancel(request, undefined),
      nowMs: this.#now(),
    });
    this.#enqueue(request);
    this.#watchSignal(request, options.signal);
    this.#emit({ kind: "added", numPromptTokens: request.numPromptTokens });
    if (!this.#isLooping) void this.#loop();
    return {
      id: request.id,
      numPromptTokens: request.numPromptTokens,
      cancel: () => this.#cancel(request, cancelledError()),
      [Symbol.asyncIterator]: () => request.channel[Symbol.asyncIterator](),
    };
  }

  /** Steps until nobody waits or runs. */
  async #loop(): Promise<void> {
    this.#isLooping = true;
    await nextTurn(); // requests added in the same turn start together
    while (this.#live.size > 0) {
      try {
        await this.#step();
      } catch (bug) {
        for (const request of this.#live.keys()) this.#fail(request, bug);
      }
      await nextTurn();
    }
    this.#isLooping = false;
    for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }

  /** One iteration: schedule -> run -> sample -> finish. */
  async #step(): Promise<void> {
    const parts = this.#scheduler.schedule();
    const going = this.#live.size === 1 ? this.#aheadOf(parts) : undefined;
    const outputs = going === undefined ? await this.#run(parts) : await this.#goOn(parts, going);
    for (const request of this.#cancelled) this.#finish(request, "cancelled");
    this.#cancelled.clear();
    if (outputs === undefined) return;
    for (const part of parts) part.request.numStored = part.start + part.count;
    for (const [i, part] of parts.filter(({ needsLogits }) => needsLogits).entries())
      this.#advance(part, outputs[i]);
  }

  /** The tokens of a request that can go on by itself where the decoder runs; undefined for any other step. */
  #aheadOf(parts: readonly StepPart[]): AsyncGenerator<SampledToken> | undefined {
    const [part, ...others] = parts;
    if (part === undefined || others.length > 0 || part.request.phase.state !== "decoding") return undefined;
    const { request, slot, start } = part;
    const { temperature, draw, truncation } = request.onDevice ?? {};
    const [done, token] = [numGenerated(request), request.tokens.at(-1)];
    if (temperature === undefined || draw === undefined || token === undefined) return undefined;
    const steps = request.maxTokens - done;
    const place = { slot, token, position: start, steps, temperature, ...(truncation && { truncation }) };
    return this.#options.decoder.ahead?.({ ...place, draw: (step) => draw(done + step) });
  }

  /** Takes tokens of a request that is alone, until it ends, is cancelled, or another one comes. */
  async #goOn(parts: readonly StepPart[], tokens: AsyncGenerator<SampledToken>): Promise<undefined> {
    const [part] = parts;
    if (part === undefined) return undefined;
    let startedAt = this.#now();
    this.#isStepping = true;
    try {
      for await (const token of tokens) {
        part.request.numStored++;
        this.#emit({ kind: "step", numPromptTokens: 0, numOutputs: 1, durationMs: this.#now() - startedAt });
        startedAt = this.#now();
        this.#advance(part, token);
        if (part.request.phase.state === "finished" || this.#cancelled.size > 0 || this.#live.size > 1) break;
      }
    } catch (cause) {
      this.#fail(part.request, decoderError(cause, 1));
    } finally {
      this.#isStepping = false;
    }
    return undefined;
  }

  /** Runs the decoder; when it fails, fails the requests of the step and resolves to undefined. */
  async #run(parts: readonly StepPart[]): Promise<readonly StepOutput[] | undefined> {
    const startedAt = this.#now();
    const { decoder } = this.#options;
    this.#isStepping = true;
    try {
      return await runParts(decoder, parts);
    } catch (cause) {
      const numRows = parts.reduce((sum, { count }) => sum + count, 0);
      for (const { request } of parts) this.#fail(request, decoderError(cause, numRows));
      return undefined;
    } finally {
      this.#isStepping = false;
      this.#emit({
        kind: "step",
        numPromptTokens: countPromptTokens(parts),
        numOutputs: parts.filter(({ needsLogits }) => needsLogits).length,
        durationMs: this.#now() - startedAt,
      });
    }
  }

  /** Takes or samples a request's next token, tells its reader, and finishes the request if that was the last one. */
  #advance({ request, slot }: StepPart, output: StepOutput | undefined): void {
    if (request.phase.state === "finished") return; // cancelled or failed during the step
    try {
      if (output === undefined) throw decoderError(new Error("it returned too few rows of logits"), 0);
      request.phase = { state: "decoding", slot };
      const isLogits = output instanceof Float32Array;
      const sample = isLogits ? request.sampler.sample(output, request.tokens) : output;
      request.tokens.push(sample.id);
      const { text, finishReason } = this.#read(request, sample.id);
      this.#timeToken(request);
      request.channel.push({ ...sample, text, ...(finishReason && { finishReason }) });
      if (finishReason !== undefined) this.#finish(request, finishReason);
    } catch (error) {
      this.#fail(request, error);
    }
  }

  /** The text that a token makes certain, and whether it ends the request. */
  #read(request: Request, id: number): { text: string; finishReason: FinishReason | undefined } {
    if (this.#endOfText.has(id) && request.options.ignoreEndOfText !== true) {
      return { text: request.text.flush().text, finishReason: "stop" };
    }
    const piece = request.text.push(id);
    if (piece.stopped) return { text: piece.text, finishReason: "stop" };
    if (numGenerated(request) < request.maxTokens) return { text: piece.text, finishReason: undefined };
    const rest: TextPiece = request.text.flush();
    return { text: piece.text + rest.text, finishReason: rest.stopped ? "stop" : "length" };
  }

  #timeToken(request: Request): void {
    const now = this.#now();
    if (request.lastTokenAt === undefined)
      this.#emit({ kind: "firstToken", sinceAddedMs: now - request.addedAt });
    else this.#emit({ kind: "token", sincePreviousMs: now - request.lastTokenAt });
    request.lastTokenAt = now;
  }

  /** Ends a request: frees its slot, closes its stream, forgets it. */
  #finish(request: Request, outcome: FinishReason | "cancelled" | "failed"): void {
    if (request.phase.state === "finished") return;
    this.#scheduler.remove(request);
    request.phase = { state: "finished", outcome };
    this.#live.get(request)?.();
    this.#live.delete(request);
    request.channel.end();
    const durationMs = this.#now() - request.addedAt;
    this.#emit({ kind: "finished", outcome, numGeneratedTokens: numGenerated(request), durationMs });
  }

  #fail(request: Request, error: unknown): void {
    request.channel.fail(error);
    this.#finish(request, "failed");
  }

  /** Tells the reader at once; frees the slot now, or right after the step that is writing to it. */
  #cancel(request: Request, reason: unknown): void {
    if (request.phase.state === "finished") return;
    if (reason === undefined) request.channel.end();
    else request.channel.fail(reason);
    if (this.#isStepping && request.phase.state !== "queued") this.#cancelled.add(request);
    else this.#finish(request, "cancelled");
  }

  #enqueue(request: Request): void {
    try {
      this.#scheduler.enqueue(request);
    } catch (error) {
      this.#emit({ kind: "refused" });
      throw error;
    }
  }

  #watchSignal(request: Request, signal: AbortSignal | undefined): void {
    const onAbort = (): void => this.#cancel(request, signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#live.set(request, () => signal?.removeEventListener("abort", onAbort));
  }

  #refuseWhileDraining(): void {
    if (!this.#isDraining) return;
    this.#emit({ kind: "refused" });
    throw new HeddleError(
      "capacity",
      `engine.add: the engine must be open; got a request while it drains ${this.#live.size} others. ` +
        "Send it to another server.",
      { isDraining: true, live: this.#live.size },
    );
  }

  stats(): EngineStats {
    const { running } = this.#scheduler;
    const { decoder } = this.#options;
    const decoding = running.filter((request) => request.phase.state === "decoding").length;
    return {
      ...this.#meter.read(this.#now()),
      queued: this.#scheduler.numQueued,
      running: running.length,
      prefilling: running.length - decoding,
      decoding,
      slots: { used: this.#slots.numSlots - this.#slots.numFree, total: this.#slots.numSlots },
      cacheTokens: {
        used: running.reduce((sum, request) => sum + request.numStored, 0),
        total: decoder.numSlots * decoder.maxSeqLen,
      },
      cacheBytes: decoder.cacheBytes,
      isDraining: this.#isDraining,
      uptimeMs: this.#now() - this.#startedAt,
    };
  }

  subscribe(listener: (event: EngineEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #emit(event: EngineEvent): void {
    this.#meter.record(event, this.#now());
    for (const listener of this.#listeners) listener(event);
  }

  async drain({ timeoutMs }: { readonly timeoutMs?: number } = {}): Promise<void> {
    this.#isDraining = true;
    if (!this.#isLooping) return;
    const idle = new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
    if (timeoutMs === undefined) return idle;
    const timer = setTimeout(() => {
      for (const request of this.#live.keys()) this.#cancel(request, drainedError(timeoutMs));
    }, timeoutMs);
    await idle;
    clearTimeout(timer);
  }
}

function checkLimits(limits: {
  numSlots: number;
  maxQueued: number;
  maxTokensPerStep: number;
  prefillChunk: number;
}): void {
  const least = { numSlots: 1, maxQueued: 0, maxTokensPerStep: limits.numSlots + 1, prefillChunk: 1 };
  for (const name of ["numSlots", "maxQueued", "maxTokensPerStep", "prefillChunk"] as const) {
    if (Number.isInteger(limits[name]) && limits[name] >= least[name]) continue;
    throw new HeddleError(
      "config",
      `createEngine: ${name} must be an integer of at least ${least[name]}; got ${limits[name]}. Set ${name}: ${least[name]} or more.`,
      { [name]: limits[name], least: least[name] },
    );
  }
}

/** Runs the parts of a step together, but for prompts that the decoder reads whole: those come last, one after another. */
async function runParts(decoder: Decoder, parts: readonly StepPart[]): Promise<StepOutput[]> {
  const isWhole = ({ start }: StepPart) => decoder.feedPrefix !== undefined && start === 0;
  const stepped = parts.filter((part) => !isWhole(part));
  const outputs: StepOutput[] = stepped.length === 0 ? [] : await runStep(decoder, stepped);
  for (const { request, slot } of parts.filter(isWhole)) {
    const logits = await decoder.feedPrefix?.(request.tokens, slot);
    if (logits !== undefined) outputs.push(logits);
  }
  return outputs;
}

function runStep(decoder: Decoder, parts: readonly StepPart[]): Promise<StepOutput[]> {
  const batch = packBatch(parts);
  const choices = choicesOf(parts);
  const isChosen = choices.some((choice) => choice !== undefined);
  return (isChosen ? decoder.choose?.(batch, choices) : undefined) ?? decoder.step(batch);
}

/** How the decoder chooses the token after each output; undefined where its logits are wanted. */
function choicesOf(parts: readonly StepPart[]): (TokenChoice | undefined)[] {
  const requests = parts.flatMap(({ request, needsLogits }) => (needsLogits ? [request] : []));
  return requests.map((request) => {
    const { temperature, draw, truncation } = request.onDevice ?? {};
    if (temperature === undefined || draw === undefined) return undefined;
    if (temperature === 0) return { temperature };
    return { temperature, draw: draw(numGenerated(request)), ...(truncation && { truncation }) };
  });
}

function countPromptTokens(parts: readonly StepPart[]): number {
  return parts.reduce((sum, { request, start, count }) => {
    return sum + Math.max(0, Math.min(start + count, request.numPromptTokens) - start);
  }, 0);
}

function decoderError(cause: unknown, numRows: number): HeddleError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new HeddleError(
    "device",
    `engine: the decoder must complete a step; got an error with ${numRows} rows (${why}). ` +
      "The requests of that step ended; the engine goes on with the next.",
    { numRows },
    cause,
  );
}

function cancelledError(): DOMException {
  return new DOMException("The generation was cancelled.", "AbortError");
}

function drainedError(timeoutMs: number): HeddleError {
  return new HeddleError(
    "capacity",
    `engine.drain: requests must end within timeoutMs; got one that runs after ${timeoutMs} ms. Send it to another server.`,
    { timeoutMs, isDraining: true },
  );
}
