import {
  CHUNK_BITS,
  CLOSED_CHUNK,
  CONTROL_BYTES,
  controlWords,
  MAX_FAILURE_BYTES,
  SEQUENCE_MASK,
} from "./control.js";
import { MAX_ARGUMENT_BYTES } from "./kernel-table.js";

export interface WorkerTimes {
  /** How long an idle worker spins before it sleeps, in milliseconds. */
  readonly spinMs: number;
}

/**
 * Source text of a worker thread: plain JavaScript that needs nothing else, so that no bundler has to find it.
 * Its twin on the calling thread is `Pool.#work` in pool.ts: both take and finish chunks by the same rules.
 *
 * A worker stays in `work` and returns to its event loop only to read messages.
 */
export function workerSource({ spinMs }: WorkerTimes): string {
  return `"use strict";
const W = ${JSON.stringify(controlWords)};
const port = typeof require === "function" ? require("node:worker_threads").parentPort : self;
const table = new WebAssembly.Table({ element: "anyfunc", initial: 0 });
const plans = new Map();
let memory, ints, bytes, own, ownAddress, invoke, seen = 0;

function receive(message) {
  seen++;
  if (message.kind === "start") {
    memory = message.memory;
    ints = new Int32Array(memory.buffer, message.control, ${CONTROL_BYTES / 4});
    ownAddress = message.args;
    own = new Int32Array(memory.buffer, ownAddress, ${MAX_ARGUMENT_BYTES / 4});
    invoke = new WebAssembly.Instance(message.dispatcher, { env: { table } }).exports.run;
    bytes = new Uint8Array(memory.buffer, message.control, ${CONTROL_BYTES});
  } else if (message.kind === "plan") {
    for (const { index, module } of message.modules) {
      if (table.length <= index) table.grow(index + 1 - table.length);
      table.set(index, new WebAssembly.Instance(module, { env: { memory } }).exports.runFrom);
    }
    plans.set(message.id, message.stages);
  } else if (message.kind === "drop") {
    plans.delete(message.id);
  }
  if (Atomics.load(ints, W.messages) === seen) work();
}

function work() {
  for (;;) {
    if (Atomics.load(ints, W.messages) !== seen) return;
    const ticket = Atomics.load(ints, W.ticket);
    const chunk = ticket & ${CLOSED_CHUNK};
    if (chunk !== ${CLOSED_CHUNK}) {
      const base = Atomics.load(ints, W.base);
      const stages = plans.get(Atomics.load(ints, W.plan));
      const stage = stages && stages[((ticket >>> ${CHUNK_BITS}) - base) & ${SEQUENCE_MASK}];
      if (stage && chunk < stage.chunks) {
        if (Atomics.compareExchange(ints, W.ticket, ticket, ticket + 1) === ticket) {
          runChunk(stage, chunk);
          Atomics.add(ints, W.workerChunks, 1);
          if (Atomics.add(ints, W.done, 1) + 1 === stage.chunks) advance(ticket, base, stages);
        }
        continue;
      }
    }
    rest(ticket);
  }
}

function runChunk(stage, taken) {
  const place = placeOf(stage, taken);
  try {
    for (const { module, args, patches, units } of stage.steps) {
      const begin = firstUnit(units, stage, place);
      const end = firstUnit(units, stage, place + 1);
      if (begin === end) continue;
      for (let i = 0; i < args.length; i++) own[i] = args[i];
      for (let i = 0; i < patches.length; i += 3) own[patches[i]] = ints[W.slots + patches[i + 1]] + patches[i + 2];
      invoke(module, ownAddress, begin, end);
    }
  } catch (error) {
    if (Atomics.compareExchange(ints, W.failed, 0, 1) !== 0) return;
    const text = new TextEncoder().encode(String(error)).subarray(0, ${MAX_FAILURE_BYTES});
    bytes.set(text, W.failureText * 4);
    Atomics.store(ints, W.failureLength, text.length);
  }
}

function placeOf({ chunks, parts }, taken) {
  return (taken % parts) * (chunks / parts) + Math.floor(taken / parts);
}

function firstUnit(units, { chunks, isTapered, parts }, place) {
  const each = chunks / parts;
  const part = Math.floor(place / each);
  const left = 1 - (place % each) / each;
  return Math.round((units / parts) * (part + 1 - (isTapered && units > chunks ? left * left : left)));
}

function advance(ticket, base, stages) {
  const sequence = ((ticket >>> ${CHUNK_BITS}) + 1) & ${SEQUENCE_MASK};
  const next = Atomics.load(ints, W.failed) ? undefined : stages[(sequence - base) & ${SEQUENCE_MASK}];
  Atomics.store(ints, W.done, 0);
  Atomics.store(ints, W.ticket, (sequence << ${CHUNK_BITS}) | (next ? 0 : ${CLOSED_CHUNK}));
  if (next && next.chunks > 1 && Atomics.load(ints, W.sleepers) > 0) Atomics.notify(ints, W.ticket, next.chunks - 1);
  if (Atomics.exchange(ints, W.callerAsleep, 0) === 1) Atomics.notify(ints, W.callerAsleep);
}

function rest(ticket) {
  const start = performance.now();
  do {
    for (let i = 0; i < 100; i++) {
      if (Atomics.load(ints, W.ticket) !== ticket) return;
      if (Atomics.pause) Atomics.pause();
    }
    if (Atomics.load(ints, W.messages) !== seen) return;
  } while (performance.now() - start < ${spinMs});
  Atomics.add(ints, W.sleepers, 1);
  if (Atomics.load(ints, W.messages) === seen) Atomics.wait(ints, W.ticket, ticket, 10000);
  Atomics.sub(ints, W.sleepers, 1);
}

if (port === globalThis.self) port.onmessage = (event) => receive(event.data);
else port.on("message", receive);
`;
}
