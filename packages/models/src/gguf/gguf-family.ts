import type { GgufValue } from "@heddle/checkpoints";
import type { WeightRule } from "../families/family.js";
import type { GgufFields } from "./gguf-fields.js";

/**
 * How GGUF files hold a model family, as data: the fields that make its `config.json`, and the names of its tensors.
 *
 * A new one is one more file in families/ that exports such a record and its place in registry.ts.
 */
export interface GgufFamily {
  /** Value of `general.architecture`. */
  readonly architecture: string;
  /** `model_type` of the Hugging Face family that it is read as. */
  readonly modelType: string;
  /** Further families that are written in this form. */
  readonly writes?: readonly string[];
  /** What such a file cannot hold of a model with this config.json, if anything. */
  losses?(json: Readonly<Record<string, unknown>>): string | undefined;
  /** Makes the config.json; special tokens are added by the caller. */
  toJson(model: GgufDescription): Record<string, unknown>;
  /** The fields that describe a model with this config.json; a key that begins with "." stands behind the architecture. */
  toFields(json: Readonly<Record<string, unknown>>): Readonly<Record<string, GgufValue>>;
  readonly rules: readonly GgufWeightRule[];
}

/** What a file says of its model. */
export interface GgufDescription {
  readonly fields: GgufFields;
  /** Row-major shape of a tensor, or undefined. */
  shapeOf(name: string): readonly number[] | undefined;
  /** Values of a small f32 tensor that was read beforehand: factors of rotation frequencies. */
  readonly factors: Readonly<Record<string, readonly number[]>>;
}

/** A tensor of the file and the weights that it holds, in order along its rows. */
export interface GgufWeightRule extends Pick<WeightRule, "paths" | "name"> {
  /**
   * The rows of a head are stored as pairs (0, D/2), (1, D/2 + 1), ... that rotate together, where our tree has them half
   * by half. Names the count of heads.
   */
  readonly interleaved?: "numHeads" | "numKvHeads";
  /** A table that is only looked up: loaded as floats of the device, whatever the file holds. */
  readonly isTable?: boolean;
  /** Added to the weights in the file: 1 where our tree holds weight - 1. */
  readonly offset?: number;
}
