import { type AlignedText, applyRewrite, type Rewrite } from "../aligned-text.js";
import type { CoverPrefix } from "./cover-prefix.js";

/** A normalizer ready to run: `apply` is the quick way, `align` also says where every unit came from. */
export interface CompiledNormalizer {
  apply(text: string): string;
  align(aligned: AlignedText): AlignedText;
  /**
   * How many units are put before a text whose own units all keep their order and number; 0: every unit keeps its
   * place, so a text may be normalised whole and cut later; null: units move.
   */
  readonly prefixUnits: number | null;
  /** Where something is put before a text (prefixUnits above 0): lets it count as part of the first character. */
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
    prefixUnits: null,
  };
}
