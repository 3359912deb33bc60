import { specialToken, withTypeId } from "../token-list.js";
import type { CompiledPostProcessor } from "./compiled.js";

/** The tokens around texts, with their ids. */
export interface BertEnds {
  readonly sep: readonly [string, number];
  readonly cls: readonly [string, number];
}

/** [CLS] A [SEP], or [CLS] A [SEP] B [SEP] with type 1 from B on. */
export function compileBertEnds({ sep, cls }: BertEnds): CompiledPostProcessor {
  return {
    process(lists, addSpecialTokens) {
      if (!addSpecialTokens) return lists;
      return lists.flatMap((list, i) => {
        const body = [withTypeId(list, i), specialToken(sep[1], i)];
        return i === 0 ? [specialToken(cls[1], 0), ...body] : body;
      });
    },
    countAdded: (isPair) => (isPair ? 3 : 2),
  };
}
