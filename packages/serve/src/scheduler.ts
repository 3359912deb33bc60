import { HeddleError } from "@heddle/tensor";
import { type Request, slotOf } from "./request.js";
import type { SlotPool } from "./slot-pool.js";

/** The tokens `tokens[start .. start + count)` of one request, to be run in this step. */
export interface StepPart {
  readonly request: Request;
  readonly slot: number;
  readonly start: number;
  readonly count: number;
  /** Whether the part ends at the request's last token, so that its logits are needed. */
  readonly needsLogits: boolean;
}

/** Decides who waits, who runs, and which tokens each running request gets in a step. */
export interface Scheduler {
  readonly numQueued: number;
  readonly running: readonly Request[];
  /** Appends a request to the queue; throws "capacity" when the queue is full. */
  enqueue(request: Request): void;
  /** Admits waiting requests to free slots, then plans one step: every decoding request, then prompt chunks. */
  schedule(): readonly StepPart[];
  /** Takes a request out of the queue or frees its slot. The caller sets the request's phase afterwards. */
  remove(request: Request): void;
}

/** The limits of a scheduler, all in tokens or requests. */
export interface SchedulerOptions {
  readonly slots: SlotPool;
  /** Most requests that wait; one more is refused. */
  readonly maxQueued: number;
  /** Most tokens in one step, decoding and prompts together; more than the number of slots. */
  readonly maxTokensPerStep: number;
  /** Tokens of one prompt that a step takes before the next prompt has its turn. */
  readonly prefillChunk: number;
  /** A step takes one prompt, whole, whatever its length: of models whose prompts are read before and behind. Default false. */
  readonly takesWholePrompts?: boolean;
}

/**
 * Creates a first-come, first-served scheduler with continuous batching.
 *
 * Every step holds one token of each decoding request, so nobody's stream stalls behind a prompt. What is left
 * of `maxTokensPerStep` goes to prompts in chunks of `prefillChunk`, in turns: the prompt served last goes to
 * the back, so a short prompt passes a long one.
 *
 * @see Yu et al. 2022, Orca (OSDI 22), section 3.1; Agrawal et al. 2024, Sarathi-Serve, arXiv:2403.02310, section 4.
 * Differs from the papers: no preemption, because a slot has room for a whole sequence.
 */
export function createScheduler(options: SchedulerOptions): Scheduler {
  const { slots, maxQueued, maxTokensPerStep, prefillChunk, takesWholePrompts = false } = options;
  const queue: Request[] = [];
  let running: Request[] = [];

  const admit = (): void => {
    for (let next = queue[0]; next !== undefined; next = queue[0]) {
      const lease = slots.acquire(next.tokens);
      if (lease === undefined) return;
      queue.shift();
      next.numStored = lease.numCached;
      next.phase = { state: "prefilling", slot: lease.slot };
      running.push(next);
    }
  };

  return {
    get numQueued() {
      return queue.length;
    },
    get running() {
      return running;
    },
    enqueue(request) {
      if (queue.length >= maxQueued) {
        throw new HeddleError(
          "capacity",
          `engine.add: the queue must have room; got ${queue.length} waiting requests, maxQueued ${maxQueued}. ` +
            "Try again when some have finished.",
          { waiting: queue.length, maxQueued, running: running.length },
        );
      }
      queue.push(request);
    },
    schedule() {
      admit();
      const decoding = running.filter((request) => request.phase.state === "decoding").map(decodePart);
      const prompts = running.filter((request) => request.phase.state === "prefilling");
      const chunks = takesWholePrompts
        ? prompts.slice(0, 1).map((request) => partOf(request, request.tokens.length))
        : sharePromptBudget(prompts, maxTokensPerStep - decoding.length, prefillChunk);
      const served = new Set(chunks.map((part) => part.request));
      running = [...running.filter((request) => !served.has(request)), ...chunks.map((part) => part.request)];
      return [...decoding, ...chunks];
    },
    remove(request) {
      const waiting = queue.indexOf(request);
      if (waiting >= 0) queue.splice(waiting, 1);
      const slot = slotOf(request.phase);
      if (slot === undefined) return;
      running = running.filter((other) => other !== request);
      slots.release(slot);
    },
  };
}

/** The one new token of a decoding request. */
function decodePart(request: Request): StepPart {
  return partOf(request, request.tokens.length - request.numStored);
}

/** Gives each prompt a chunk in turn until the budget or the prompts are used up; one part for each request. */
function sharePromptBudget(prompts: readonly Request[], budget: number, chunk: number): StepPart[] {
  const granted = new Map<Request, number>();
  let left = budget;
  for (let progress = true; left > 0 && progress; ) {
    progress = false;
    for (const request of prompts) {
      const before = granted.get(request) ?? 0;
      const count = Math.min(chunk, left, request.tokens.length - request.numStored - before);
      if (count <= 0) continue;
      granted.set(request, before + count);
      left -= count;
      progress = true;
    }
  }
  return [...granted].map(([request, count]) => partOf(request, count));
}

function partOf(request: Request, count: number): StepPart {
  const slot = slotOf(request.phase);
  if (slot === undefined) throw new Error("Heddle bug: a request without a slot was scheduled.");
  const start = request.numStored;
  return { request, slot, start, count, needsLogits: start + count === request.tokens.length };
}
