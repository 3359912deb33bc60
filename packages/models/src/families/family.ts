import type { z } from "zod";
import type { DecoderConfig } from "../config.js";

/**
 * A model family as data: how its `config.json` reads, and what its checkpoint calls each weight.
 *
 * A new family is one more file that exports such a record; nothing else knows its name.
 */
export interface Family<Json = unknown> {
  /** `model_type` of the config.json. */
  readonly modelType: string;
  /** Class name of Hugging Face, written to `architectures`. */
  readonly architecture: string;
  /** Every key of config.json that has a meaning here, in current and older forms. */
  readonly schema: z.ZodType<Json> & { readonly shape: Readonly<Record<string, unknown>> };
  /** Keys without an effect on what is computed at inference, besides those that all families share. */
  readonly inertKeys: readonly string[];
  toConfig(json: Json): DecoderConfig;
  toJson(config: DecoderConfig): Record<string, unknown>;
  readonly weights: WeightNames;
}

/** How a checkpoint names the weights of our tree. `*` stands for the layer number. */
export interface WeightNames {
  readonly rules: readonly WeightRule[];
  /** What some published checkpoints leave away at the start of each name. */
  readonly optionalPrefix?: string;
  /** Tensors of published checkpoints that hold no weights, such as stored masks. */
  readonly ignored: readonly RegExp[];
}

export interface WeightRule {
  /** Paths in our tree. Several mean: their tensors joined along the first axis are the stored one. */
  readonly paths: readonly string[];
  readonly name: string;
  /** Stored as [in, out], where our tree has [out, in]. */
  readonly isTransposed?: boolean;
}
