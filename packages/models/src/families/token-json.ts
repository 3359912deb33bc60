import { z } from "zod";
import type { SpecialTokenIds } from "../config.js";

const id = z.number().int();

/** Keys of special tokens, the same in every config.json. */
export const tokenKeys = {
  bos_token_id: id.nullish(),
  eos_token_id: z.union([id, z.array(id)]).nullish(),
  pad_token_id: id.nullish(),
};

type TokenJson = z.infer<z.ZodObject<typeof tokenKeys>>;

export function tokensFromJson(json: TokenJson): SpecialTokenIds {
  const eos = json.eos_token_id ?? [];
  return {
    ...(typeof json.bos_token_id === "number" ? { bos: json.bos_token_id } : {}),
    eos: typeof eos === "number" ? [eos] : eos,
    // Some old configurations write -1 for "none".
    ...(typeof json.pad_token_id === "number" && json.pad_token_id >= 0 ? { pad: json.pad_token_id } : {}),
  };
}

export function tokensToJson({ bos, eos, pad }: SpecialTokenIds): Record<string, unknown> {
  return {
    bos_token_id: bos ?? null,
    eos_token_id: eos.length === 0 ? null : eos.length === 1 ? eos[0] : eos,
    pad_token_id: pad ?? null,
  };
}
