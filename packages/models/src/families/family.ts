import type { z } from "zod";
import type { Architecture } from "../architecture.js";
import type { DecoderConfig, ModelConfig } from "../config.js";

/**
 * A model family as data: how its `config.json` reads, and what its checkpoint calls each weight.
 *
 * A new family is one more file that exports such a record; nothing else knows its name.
 */
export interface Family<Json = unknown, Config extends ModelConfig = DecoderConfig, Weights = unknown> {
  /** `model_type` of the config.json. */
  readonly modelType: string;
  /** Other values of `model_type` that mean the same. */
  readonly aliases?: readonly string[];
  /** Class name of Hugging Face, written to `architectures`. */
  readonly className: string;
  readonly architecture: Architecture<Config, Weights>;
  /** Every key of config.json that has a meaning here, in current and older forms. */
  readonly schema: z.ZodType<Json> & { readonly shape: Readonly<Record<string, unknown>> };
  /** Keys without an effect on what is computed at inference, besides those that all families share. */
  readonly inertKeys: readonly string[];
  toConfig(json: Json): Config;
  toJson(config: Config): Record<string, unknown>;
  /** Names may depend on the configuration, never on the values of weights. */
  weights(config: Config): WeightNames;
}

/** A family of any architecture, as the registry holds it. */
export type AnyFamily = Family<unknown, ModelConfig>;

/** How a checkpoint names the weights of our tree. Stars stand for numbers: of the layer, of the expert. */
export interface WeightNames {
  readonly rules: readonly WeightRule[];
  /** What some published checkpoints leave away at the start of each name. */
  readonly optionalPrefix?: string;
  /** Endings of names, today's and that of an early release, which some published checkpoints keep. */
  readonly earlyEndings?: readonly (readonly [today: string, early: string])[];
  /** Tensors of published checkpoints that hold no weights, such as stored masks. */
  readonly ignored?: readonly RegExp[];
}

export interface WeightRule {
  /**
   * Paths in our tree. Several mean: the stored tensor is joined of them. A path that ends in `[*]` means the slices of a
   * weight along its first axis, stored one by one.
   */
  readonly paths: readonly string[];
  readonly name: string;
  /** The last two axes are stored the other way round: [in, out], where our tree has [out, in]. */
  readonly isTransposed?: boolean;
  /**
   * The rows are stored in so many equal groups, each with its share of every part: query, key and value head by head.
   * Default 1: part after part.
   */
  readonly groups?: number;
  /** The axis of the rows, in our order of axes. Default 0. */
  readonly axis?: number;
  /** Each row is divided by its length when it is loaded. */
  readonly hasUnitRows?: boolean;
}
