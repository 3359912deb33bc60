import { isIndependent, type Step } from "./step.js";

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
