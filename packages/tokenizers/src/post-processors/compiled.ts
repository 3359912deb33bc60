import type { TokenList } from "../token-list.js";

/** A post-processor ready to run. */
export interface CompiledPostProcessor {
  /**
   * Runs over the token lists of one or two texts.
   *
   * @param addSpecialTokens  false leaves special tokens out, but still trims offsets and joins pairs
   * @returns the lists in the order in which they are joined
   */
  process(lists: readonly TokenList[], addSpecialTokens: boolean): readonly TokenList[];
  /** How many special tokens are added to one text (or to a pair). */
  countAdded(isPair: boolean): number;
}

/** Leaves the lists as they are. */
export const NO_POST_PROCESSOR: CompiledPostProcessor = {
  process: (lists) => lists,
  countAdded: () => 0,
};
