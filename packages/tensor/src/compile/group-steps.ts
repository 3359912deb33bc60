import type { Step } from "./fuse.js";

/** How far back a step may move, in steps: what it needs stays alive only a little longer. */
const MAX_DISTANCE = 12;

/**
 * Moves a step whose op is marked `isGrouped` up behind an earlier one of that op, where nothing between needs to come first.
 * A device can then run them side by side: the query, key and value of a layer.
 */
export function groupSteps(steps: readonly Step[]): Step[] {
  const ordered: Step[] = [];
  for (const step of steps) ordered.splice(placeOf(ordered, step), 0, step);
  return ordered;
}

function placeOf(ordered: readonly Step[], step: Step): number {
  const end = ordered.length;
  if (step.spec.isGrouped !== true) return end;
  for (let at = end - 1; at >= Math.max(0, end - MAX_DISTANCE); at--) {
    const earlier = ordered[at];
    if (earlier === undefined) break;
    if (earlier.spec === step.spec) return isIndependent(earlier, step) ? at + 1 : end;
    if (!isIndependent(earlier, step)) break;
  }
  return end;
}

/** Whether two steps may run in either order: neither writes what the other reads or writes. */
export function isIndependent(a: Step, b: Step): boolean {
  const [writesA, writesB] = [writesOf(a), writesOf(b)];
  const touches = (step: Step, memories: ReadonlySet<number>) =>
    [...step.inputs, ...step.outputs].some(({ memory }) => memories.has(memory));
  return !touches(a, writesB) && !touches(b, writesA);
}

function writesOf({ spec, inputs, outputs }: Step): ReadonlySet<number> {
  const written = outputs.map(({ memory }) => memory);
  const mutated = (spec.mutates ?? []).map((index) => inputs[index]?.memory ?? -1);
  return new Set([...written, ...mutated]);
}
