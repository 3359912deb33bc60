import type { LensCell, SamplingOptions } from "@heddle/models";
import type { EngineTokenizer } from "../admission.js";

/** What the HTTP interface needs of a tokenizer, besides what the engine needs. */
export interface ServedTokenizer extends EngineTokenizer {
  /** Encodes text that already holds its special tokens, such as a rendered chat. */
  encodeRendered(text: string): readonly number[];
  /** Encodes plain text without adding anything; offsets are `[start, end)` in UTF-16 units of the text. */
  tokenize(text: string): Tokenization;
  /** What a token adds to a text: U+FFFD for part of a character, its name for a special token. */
  tokenText(id: number): string;
}

/** A text as its tokens. */
export interface Tokenization {
  readonly ids: readonly number[];
  readonly tokens: readonly string[];
  readonly offsets: readonly (readonly [number, number])[];
}

/** How a model turns messages into a prompt. */
export interface ChatFormat {
  /** A Jinja template, as Hugging Face's tokenizers have it. */
  readonly template: string;
  readonly bosToken?: string;
  readonly eosToken?: string;
}

/** The model that a server offers. */
export interface ServedModel {
  readonly id: string;
  readonly tokenizer: ServedTokenizer;
  /** Absent for a model that only continues text. */
  readonly chat?: ChatFormat;
  /** Sampling where a request says nothing; default temperature 1. */
  readonly defaults?: SamplingOptions;
  /** Attention of a text, for the studio; absent where the model does not show it. */
  readonly attention?: AttentionView;
  /** What the model would say after each layer, for the studio; absent where the model does not show it. */
  readonly lens?: LensView;
  /** Seconds since 1970, for `/v1/models`. */
  readonly createdSeconds: number;
  /** Facts for people, shown in the studio: family, parameters, data type. */
  readonly facts?: Readonly<Record<string, string | number>>;
}

/** Shows where the tokens of a text look. */
export interface AttentionView {
  readonly numLayers: number;
  readonly numHeads: number;
  /** An SVG of one head's weights: row = token, column = token that it attends to. */
  picture(
    ids: readonly number[],
    at: { readonly layer: number; readonly head: number; readonly labels: readonly string[] },
  ): Promise<string>;
}

/** Shows what the model would say if it ended after each of its layers: the logit lens. */
export interface LensView {
  readonly numLayers: number;
  /** [numLayers + 1][T] cells: before the first layer, and after each; `top` tokens a cell. */
  read(ids: readonly number[], options: { readonly top: number }): Promise<readonly (readonly LensCell[])[]>;
}
