import { type AlignedText, sliceAligned } from "../aligned-text.js";

/** What becomes of the matches of a pattern when a text is split by it. */
export type SplitBehavior = "Removed" | "Isolated" | "MergedWithPrevious" | "MergedWithNext" | "Contiguous";

/** A stretch of text and whether the pattern matched it. */
interface Stretch {
  start: number;
  end: number;
  isMatch: boolean;
}

/**
 * Cuts a text at the matches of a pattern and appends the pieces to `out`; empty pieces are dropped.
 *
 * @param options.invert  treat the matches as the text between and the other way round
 */
export function splitByPattern(
  piece: AlignedText,
  options: { readonly pattern: RegExp; readonly behavior: SplitBehavior; readonly invert: boolean },
  out: AlignedText[],
): void {
  const stretches = joinStretches(
    findStretches(piece.text, options.pattern, options.invert),
    options.behavior,
  );
  for (const { start, end, isMatch } of stretches) {
    if (end > start && !(isMatch && options.behavior === "Removed"))
      out.push(sliceAligned(piece, start, end));
  }
}

function findStretches(text: string, pattern: RegExp, invert: boolean): Stretch[] {
  const stretches: Stretch[] = [];
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    if (end !== match.index) stretches.push({ start: end, end: match.index, isMatch: invert });
    end = match.index + match[0].length;
    stretches.push({ start: match.index, end, isMatch: !invert });
  }
  if (end !== text.length) stretches.push({ start: end, end: text.length, isMatch: invert });
  return stretches;
}

function joinStretches(stretches: Stretch[], behavior: SplitBehavior): Stretch[] {
  switch (behavior) {
    case "Isolated":
    case "Removed":
      return stretches;
    case "Contiguous":
      return joinWhere(stretches, (last, next) => last.isMatch === next.isMatch);
    case "MergedWithPrevious":
      return joinWhere(stretches, (last, next) => next.isMatch && !last.isMatch);
    case "MergedWithNext":
      return joinWithNext(stretches);
    default:
      return behavior satisfies never;
  }
}

/** Joins a stretch to the one before it where `mayJoin` says so of the two as they were found. */
function joinWhere(stretches: Stretch[], mayJoin: (last: Stretch, next: Stretch) => boolean): Stretch[] {
  const joined: Stretch[] = [];
  for (const [i, stretch] of stretches.entries()) {
    const last = joined.at(-1);
    const before = stretches[i - 1];
    if (last !== undefined && before !== undefined && mayJoin(before, stretch)) last.end = stretch.end;
    else joined.push({ ...stretch });
  }
  return joined;
}

function joinWithNext(stretches: Stretch[]): Stretch[] {
  const joined: Stretch[] = [];
  for (let i = stretches.length - 1; i >= 0; i--) {
    const stretch = stretches[i] as Stretch;
    const last = joined.at(-1);
    const behind = stretches[i + 1];
    if (last !== undefined && stretch.isMatch && behind?.isMatch === false) last.start = stretch.start;
    else joined.push({ ...stretch });
  }
  return joined.reverse();
}
