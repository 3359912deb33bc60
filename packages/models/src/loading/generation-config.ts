import { HeddleError } from "@heddle/tensor";
import { z } from "zod";
import type { ModelConfig } from "../config.js";
import type { SamplingOptions } from "../generation/sampling/sampling-options.js";

const id = z.number().int();

/** The keys of generation_config.json that have a meaning here; how to draw counts only where `do_sample` is true. */
const schema = z.object({
  eos_token_id: z.union([id, z.array(id)]).nullish(),
  do_sample: z.boolean().nullish(),
  temperature: z.number().positive().nullish(),
  top_k: z.number().int().min(0).nullish(),
  top_p: z.number().positive().max(1).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  typical_p: z.number().positive().max(1).nullish(),
  epsilon_cutoff: z.number().min(0).max(1).nullish(),
  eta_cutoff: z.number().min(0).max(1).nullish(),
  repetition_penalty: z.number().positive().nullish(),
  no_repeat_ngram_size: z.number().int().min(0).nullish(),
  bad_words_ids: z.array(z.array(id).min(1)).nullish(),
  suppress_tokens: z.array(id.min(0)).nullish(),
  min_new_tokens: id.min(0).nullish(),
  forced_bos_token_id: id.min(0).nullish(),
});

/** What a model's makers advise for generation. */
export interface GenerationConfig {
  /** Ids that end a text: those of config.json and of generation_config.json. */
  readonly eosTokenIds: readonly number[];
  /** Options that `generate` uses where the caller gives none. */
  readonly sampling: SamplingOptions;
  /** Least length of an answer, in tokens, where the caller gives none. */
  readonly minTokens?: number;
  /** What an answer to a start token alone begins with, as in BART's summaries and M2M100's target language. */
  readonly firstTokenId?: number;
}

/**
 * Reads a `generation_config.json` beside its model's configuration.
 *
 * @param json  the parsed file; undefined where there is none
 * @throws HeddleError "config" naming the keys whose values cannot be
 */
export function parseGenerationConfig(json: unknown, config: ModelConfig): GenerationConfig {
  const parsed = schema.safeParse(json ?? {});
  if (!parsed.success) {
    const problems = parsed.error.issues.map(({ path, message }) => `${path.join(".")} (${message})`);
    const message = `parseGenerationConfig: generation_config.json must hold usable values; got ${problems.join("; ")}. Mend or remove them.`;
    throw new HeddleError("config", message, { problems });
  }
  const advice = parsed.data;
  const eos = advice.eos_token_id ?? [];
  const truncation = {
    temperature: advice.temperature,
    topK: advice.top_k,
    topP: advice.top_p,
    minP: advice.min_p,
    typicalP: advice.typical_p,
    epsilonCutoff: advice.epsilon_cutoff,
    etaCutoff: advice.eta_cutoff,
  };
  const always = {
    repetitionPenalty: advice.repetition_penalty,
    noRepeatNgramSize: advice.no_repeat_ngram_size,
    badWords: advice.bad_words_ids,
    suppressTokens: advice.suppress_tokens,
  };
  const sampling = advice.do_sample === true ? { ...truncation, ...always } : always;
  return {
    eosTokenIds: [...new Set([...config.tokens.eos, ...(typeof eos === "number" ? [eos] : eos)])],
    sampling: present(sampling),
    ...present({ minTokens: advice.min_new_tokens, firstTokenId: advice.forced_bos_token_id }),
  };
}

/** The options that have a value. */
function present(options: object): object {
  return Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined && value !== null),
  );
}
