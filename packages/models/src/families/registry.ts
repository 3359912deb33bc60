import { HeddleError } from "@heddle/tensor";
import type { AnyFamily } from "./family.js";
import { gpt2 } from "./gpt2.js";
import { llama } from "./llama.js";
import { mamba } from "./mamba.js";
import { mamba2 } from "./mamba2.js";
import { rwkv } from "./rwkv.js";

/** Every family, by the `model_type` of its config.json. */
export const families: Readonly<Record<string, AnyFamily>> = Object.fromEntries(
  [llama, gpt2, mamba, mamba2, rwkv].flatMap((family): [string, AnyFamily][] =>
    [family.modelType, ...(family.aliases ?? [])].map((name) => [name, family as unknown as AnyFamily]),
  ),
);

/** The family of a model_type. @throws HeddleError "unsupported" naming those there are */
export function findFamily(modelType: unknown): AnyFamily {
  const family =
    typeof modelType === "string" && Object.hasOwn(families, modelType) ? families[modelType] : undefined;
  if (family !== undefined) return family;
  const known = Object.keys(families).sort().join(", ");
  const message = `parseConfig: model_type must be one of ${known}; got ${JSON.stringify(modelType)}. Convert the model or choose another.`;
  throw new HeddleError("unsupported", message, { modelType, known: Object.keys(families) });
}
