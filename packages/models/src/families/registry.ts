import type { Family } from "./family.js";
import { gpt2 } from "./gpt2.js";
import { llama } from "./llama.js";

/** Every family, by the `model_type` of its config.json. */
export const families: Readonly<Record<string, Family>> = Object.fromEntries(
  [llama, gpt2].map((family): [string, Family] => [family.modelType, family as Family]),
);
