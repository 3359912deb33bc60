import type { ModelInfo } from "./client.js";

/** What the sampling controls hold. */
export interface Sampling {
  readonly temperature: number;
  readonly topP: number;
  readonly maxTokens: number;
  /** 0 keeps all tokens. */
  readonly topK: number;
  readonly minP: number;
  readonly repetitionPenalty: number;
  /** Empty: another seed every time. */
  readonly seed: string;
  /** One stop string a line. */
  readonly stop: string;
}

/** The controls' first values for a model. */
export function initialSampling({ defaults, maxSeqLen }: ModelInfo): Sampling {
  return {
    temperature: defaults.temperature ?? 0.8,
    topP: defaults.topP ?? 0.95,
    maxTokens: Math.min(256, maxSeqLen),
    topK: 0,
    minP: 0,
    repetitionPenalty: 1,
    seed: "",
    stop: "",
  };
}

/** The controls as fields of a request; what is off is left out. */
export function requestFields(sampling: Sampling): Readonly<Record<string, unknown>> {
  const stop = sampling.stop.split("\n").filter((line) => line !== "");
  return {
    temperature: sampling.temperature,
    max_tokens: sampling.maxTokens,
    ...(sampling.topP < 1 && { top_p: sampling.topP }),
    ...(sampling.topK > 0 && { top_k: sampling.topK }),
    ...(sampling.minP > 0 && { min_p: sampling.minP }),
    ...(sampling.repetitionPenalty !== 1 && { repetition_penalty: sampling.repetitionPenalty }),
    ...(sampling.seed !== "" && { seed: Number(sampling.seed) }),
    ...(stop.length > 0 && { stop }),
  };
}
