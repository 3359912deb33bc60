import { type AlignedText, applyRewrite, type Rewrite } from "../aligned-text.js";
import type { CoverPrefix } from "./cover-prefix.js";

/** A change that can be made while the units of a text are read. */
export interface InPlaceChange {
  /** Is put before the text; empty: every unit keeps its place, so a text may be changed whole and cut later. */
  readonly prefix: string;
  /** Units that others take the place of, one pair after the other. */
  readonly replaced: readonly (readonly [from: number, to: number])[];
}

/** A normalizer ready to run: `apply` is the quick way, `align` also says where every unit came from. */
export interface CompiledNormalizer {
  apply(text: string): string;
  align(aligned: AlignedText): AlignedText;
  /** What `apply` does to a text that is not empty, if no unit of it moves or goes; null: some may. */
  readonly inPlace: InPlaceChange | null;
  /** Where something is put before a text: lets it count as part of the first character. */
  readonly coverPrefix?: CoverPrefix;
}

/**
 * Prepares a normalizer that is a rewrite.
 *
 * @param trace  the exact way: the new text and the source of each of its units; null where nothing changes
 * @param apply  the quick way, where there is one that builds no alignment
 */
export function compileTraced(
  trace: (text: string) => Rewrite | null,
  apply: ((text: string) => string) | null = null,
): CompiledNormalizer {
  return {
    apply: apply ?? ((text) => trace(text)?.text ?? text),
    align: (aligned) => applyRewrite(aligned, trace(aligned.text)),
    inPlace: null,
  };
}
