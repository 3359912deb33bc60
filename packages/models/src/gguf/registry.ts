import { HeddleError } from "@heddle/tensor";
import { bert } from "./families/bert.js";
import { gemma } from "./families/gemma.js";
import { gpt2 } from "./families/gpt2.js";
import { llama } from "./families/llama.js";
import { phi3 } from "./families/phi3.js";
import { qwen2 } from "./families/qwen2.js";
import { qwen3 } from "./families/qwen3.js";
import type { GgufFamily } from "./gguf-family.js";

const all: readonly GgufFamily[] = [llama, qwen2, qwen3, gemma, phi3, gpt2, bert];

/** The form of an architecture. @throws HeddleError "unsupported" naming those that are known */
export function ggufFamilyOf(architecture: string): GgufFamily {
  const found = all.find((family) => family.architecture === architecture);
  if (found !== undefined) return found;
  const known = all.map((family) => family.architecture);
  const message = `loadGguf: general.architecture must be one of ${known.join(", ")}; got ${JSON.stringify(architecture)}. Load the model from its Hugging Face directory, or choose another.`;
  throw new HeddleError("unsupported", message, { architecture, known });
}

/** The form in which a family is written. @throws HeddleError "unsupported" naming those that are known */
export function ggufFamilyFor(modelType: string): GgufFamily {
  const found = all.find(
    (family) => family.modelType === modelType || (family.writes ?? []).includes(modelType),
  );
  if (found !== undefined) return found;
  const known = all.flatMap((family) => [family.modelType, ...(family.writes ?? [])]);
  const message = `saveGguf: the model's family must be one of ${known.join(", ")}; got ${JSON.stringify(modelType)}. Save it as safetensors instead.`;
  throw new HeddleError("unsupported", message, { modelType, known });
}
