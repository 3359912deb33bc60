import type { AlignedText } from "../../aligned-text.js";
import type { SinglePreTokenizer } from "../kinds.js";
import { markSpaces, withPrefix } from "../metaspace.js";
import { WHOLE_SCANNER } from "../scanned.js";
import { ALL_PATTERNS } from "./all-patterns.js";
import { createGpt2Scanner } from "./gpt2.js";
import { knownScanner } from "./known-patterns.js";
import { createLiteralScanner } from "./literal.js";
import { createNumberScanner } from "./numbers.js";
import { createRegexScanner } from "./regex.js";
import type { Scanner } from "./scanner.js";
import { createSequenceScanner } from "./sequence.js";

/** Finds the words of a text one by one. */
export interface CompiledScanner {
  readonly scanner: Scanner | null;
  /** Makes of a piece the text that the scanner reads; null: it reads the piece itself. */
  readonly prepare: ((piece: AlignedText) => AlignedText) | null;
}

/** Makes a scanner of steps that cut and drop nothing; `scanner: null` if a step is not of that kind. */
export function compileScanner(steps: readonly SinglePreTokenizer[]): CompiledScanner {
  const [first] = steps;
  let prepare: CompiledScanner["prepare"] = null;
  if (first?.type === "Metaspace") prepare = (piece) => markSpaces(piece, first);
  if (first?.type === "ByteLevel" && first.addPrefixSpace) prepare = (piece) => withPrefix(piece, " ");
  const scanners: Scanner[] = [];
  for (const [i, step] of steps.entries()) {
    const scanner = scannerOf(step, {
      isFirst: i === 0,
      isLast: i === steps.length - 1,
      isOnly: isOnly(steps),
    });
    if (scanner === null) return { scanner: null, prepare: null };
    if (scanner !== WHOLE_SCANNER) scanners.push(scanner);
  }
  const [one = WHOLE_SCANNER, ...more] = scanners;
  return { scanner: more.length === 0 ? one : createSequenceScanner(scanners), prepare };
}

/** True if one step cuts and at most a byte alphabet follows: its pattern sees whole texts. */
function isOnly(steps: readonly SinglePreTokenizer[]): boolean {
  const second = steps[1];
  return steps.length === 1 || (steps.length === 2 && second?.type === "ByteLevel" && !second.useRegex);
}

interface Place {
  readonly isFirst: boolean;
  readonly isLast: boolean;
  readonly isOnly: boolean;
}

function scannerOf(step: SinglePreTokenizer, place: Place): Scanner | null {
  switch (step.type) {
    case "ByteLevel":
      if (!place.isLast || (step.addPrefixSpace && !place.isFirst)) return null;
      return step.useRegex ? createGpt2Scanner() : WHOLE_SCANNER;
    case "Metaspace":
      if (!place.isFirst || step.replacement.length !== 1) return null;
      return step.split ? createLiteralScanner(step.replacement, "MergedWithNext") : WHOLE_SCANNER;
    case "Digits":
      return createNumberScanner(step.individualDigits ? 1 : Number.POSITIVE_INFINITY);
    case "Split": {
      const { pattern, behavior, invert } = step;
      if (pattern.type === "String") {
        return invert || pattern.text.length !== 1 ? null : createLiteralScanner(pattern.text, behavior);
      }
      const known = knownScanner(pattern, ALL_PATTERNS);
      const keepsAll =
        behavior === "Isolated" || (known?.coversAll === true && behavior === "Removed" && invert);
      if (!keepsAll) return null;
      return known?.scanner ?? (place.isOnly ? createRegexScanner(pattern) : null);
    }
    default:
      return null;
  }
}
