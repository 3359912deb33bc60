import { HeddleError } from "@heddle/tensor";
import type { HostArray } from "../architecture.js";
import type { AnyModel } from "../loading/load-model.js";

/** What a model continues: a text, encoded with the tokenizer's special tokens, ids as they are, or a sound. */
export type Prompt = string | ArrayLike<number> | SoundPrompt;

/** What a model that listens hears. */
export interface SoundPrompt {
  /** [1, numBins, T], such as `logMel` makes. */
  readonly frames: HostArray;
  /** What its decoder begins with, such as start, language and task. Default: the start token alone. */
  readonly ids?: ArrayLike<number>;
}

/** The ids of a prompt, and what is heard. @throws HeddleError "config" for a text without a tokenizer, and for nothing */
export function promptOf(
  model: AnyModel,
  prompt: Prompt,
): { readonly ids: Int32Array; readonly frames?: HostArray } {
  if (typeof prompt === "string" || !("frames" in prompt)) return { ids: promptIdsOf(model, prompt) };
  const { frames, ids = [] } = prompt;
  return { ids: Int32Array.from(ids), frames };
}

/** The ids of a prompt. @throws HeddleError "config" for a text without a tokenizer, and for nothing */
export function promptIdsOf({ tokenizer }: AnyModel, prompt: string | ArrayLike<number>): Int32Array {
  const ids = typeof prompt === "string" ? tokenizer?.encodeIds(prompt) : Int32Array.from(prompt);
  if (ids === undefined) {
    const message =
      "generate: a text prompt needs a tokenizer; got a model without one. Pass token ids instead.";
    throw new HeddleError("config", message, {});
  }
  if (ids.length === 0) {
    const message =
      "generate: a prompt must have at least one token; got none. Begin with the model's first token.";
    throw new HeddleError("config", message, {});
  }
  return ids;
}
