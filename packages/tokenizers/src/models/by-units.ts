import { TextUnits } from "../text-units.js";
import type { CompiledModel } from "./compiled.js";

type TokenizeUnits = NonNullable<CompiledModel["tokenizeUnits"]>;

/** Both ways to give a word to a model that reads units. */
export function byUnits(tokenizeUnits: TokenizeUnits): Pick<CompiledModel, "tokenize" | "tokenizeUnits"> {
  const units = new TextUnits();
  return {
    tokenizeUnits,
    tokenize(word, out) {
      units.load(word);
      tokenizeUnits(units.units, 0, word.length, out);
    },
  };
}
