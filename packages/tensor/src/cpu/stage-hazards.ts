import type { BufferRef, Launch } from "../device.js";
import type { KernelArgument, KernelStep } from "./kernel.js";

/** A piece of memory that a step touches. */
type Touch =
  | { readonly kind: "scratch" }
  | (BufferRef & { readonly isFresh: boolean })
  /** Some slot that was handed in and is changed in place: it may be any other slot under another name. */
  | { readonly kind: "anySlot" };

interface Touches {
  readonly reads: readonly Touch[];
  readonly writes: readonly Touch[];
}

/**
 * Follows what the steps since the last barrier read and write, and tells which step needs no barrier before it.
 *
 * Scratch is shared by all kernels, so two steps that use it are never free of each other.
 */
export class StageHazards {
  #reads: Touch[] = [];
  #writes: Touch[] = [];

  /** Whether the step may run beside all steps since the last one that was not free; then counts it among them. */
  add(step: KernelStep, launch: Launch): boolean {
    const { reads, writes } = touchesOf(step, launch);
    const isFree =
      !overlapsAny(writes, this.#writes) &&
      !overlapsAny(writes, this.#reads) &&
      !overlapsAny(reads, this.#writes);
    if (!isFree) {
      this.#reads = [];
      this.#writes = [];
    }
    this.#reads.push(...reads);
    this.#writes.push(...writes);
    return isFree;
  }
}

function touchesOf({ args }: KernelStep, launch: Launch): Touches {
  const reads: Touch[] = [];
  const writes: Touch[] = [];
  for (const argument of args) {
    const touch = touchOf(argument, launch);
    if (touch === undefined) continue;
    if (touch.isWritten) writes.push(touch.place);
    else reads.push(touch.place);
  }
  return { reads, writes };
}

function touchOf(
  argument: KernelArgument,
  { buffers, outputs = buffers.length, mutates = [] }: Launch,
): { readonly place: Touch; readonly isWritten: boolean } | undefined {
  if (argument.kind === "scratch") return { place: { kind: "scratch" }, isWritten: true };
  if (argument.kind !== "buffer") return undefined;
  const ref = buffers[argument.index];
  if (ref === undefined) return undefined;
  const isOutput = argument.index >= buffers.length - outputs;
  const isMutated = mutates.includes(argument.index);
  if (isMutated && ref.kind === "slot") return { place: { kind: "anySlot" }, isWritten: true };
  return { place: { ...ref, isFresh: isOutput }, isWritten: isOutput || isMutated };
}

function overlapsAny(some: readonly Touch[], others: readonly Touch[]): boolean {
  return some.some((one) => others.some((other) => overlaps(one, other)));
}

function overlaps(a: Touch, b: Touch): boolean {
  if (a.kind === "scratch" || b.kind === "scratch") return a.kind === b.kind;
  if (a.kind === "anySlot" || b.kind === "anySlot") return a.kind !== "arena" && b.kind !== "arena";
  if (a.kind === "slot" || b.kind === "slot")
    return a.kind === "slot" && b.kind === "slot" && a.index === b.index;
  return a.byteOffset < b.byteOffset + b.byteLength && b.byteOffset < a.byteOffset + a.byteLength;
}
