import type { AddedToken } from "./added-tokens.js";
import type { Decoder } from "./decoders/decoder.js";
import type { StreamDecoder } from "./decoders/stream.js";
import type { Encoding } from "./encoding.js";
import type { Model } from "./models/model.js";
import type { Normalizer } from "./normalizers/normalizer.js";
import type { Padding } from "./padding.js";
import type { PostProcessor } from "./post-processors/post-processor.js";
import type { PreTokenizer } from "./pre-tokenizers/kinds.js";
import type { StreamEncoder } from "./stream-encoder.js";
import type { Truncation } from "./truncation.js";

/** The parts of a tokenizer, plain data: text runs through them from top to bottom, ids back through the decoder. */
export interface TokenizerConfig {
  readonly normalizer: Normalizer | null;
  readonly preTokenizer: PreTokenizer | null;
  readonly model: Model;
  readonly postProcessor: PostProcessor | null;
  readonly decoder: Decoder | null;
  readonly addedTokens: readonly AddedToken[];
  /** What a tokenizer.json asks for; pass it to `encode` to have it done. */
  readonly truncation?: Truncation;
  /** What a tokenizer.json asks for; pass it to `encodeBatch` to have it done. */
  readonly padding?: Padding;
  /** Tokens with a role; those that are left out are undefined. */
  readonly roles?: TokenRoles;
}

/** Tokens by the role that a model gives them. */
export interface TokenRoles {
  readonly bos?: string | undefined;
  readonly eos?: string | undefined;
  readonly pad?: string | undefined;
  readonly unk?: string | undefined;
}

export interface EncodeIdsOptions {
  /** Add what the post-processor adds (BOS, [CLS] ...); default true. */
  readonly addSpecialTokens?: boolean;
  /** Turn the names of special tokens inside the text into these tokens; default true. False for untrusted text. */
  readonly parseSpecialTokens?: boolean;
}

export interface EncodeOptions extends EncodeIdsOptions {
  /** A second text, joined to the first by the post-processor. */
  readonly pair?: string;
  /** Cut to a length; the rest comes as `overflowing` windows. Default: no cut, whatever config.truncation says. */
  readonly truncation?: Truncation;
}

export interface EncodeBatchOptions extends Omit<EncodeOptions, "pair"> {
  /** Bring all to one length. Default: none, whatever config.padding says. */
  readonly padding?: Padding;
}

export interface DecodeOptions {
  /** Leave special tokens out; default false. */
  readonly skipSpecialTokens?: boolean;
}

export interface StreamDecodeOptions extends DecodeOptions {
  /** Ids that came before, whose text is not wanted: decoding goes on behind them. */
  readonly after?: Iterable<number>;
}

/** Text to ids and back. Immutable; safe to share. */
export interface Tokenizer {
  readonly config: TokenizerConfig;
  /** Number of tokens, added ones included. */
  readonly vocabSize: number;
  /** One more than the greatest id: the number of rows that an embedding needs. */
  readonly idLimit: number;
  /** Contents of all special tokens in ascending order of id. */
  readonly specialTokens: readonly string[];
  /** Ids of tokens with a role; undefined where there is none. */
  readonly bosId: number | undefined;
  readonly eosId: number | undefined;
  readonly padId: number | undefined;
  readonly unkId: number | undefined;
  /**
   * Tokens of a text, or of a pair, with ranges in UTF-16 units. The result owns its arrays.
   *
   * @throws HeddleError "config" if a text is no string, "capacity" if truncation leaves no room for added tokens
   */
  encode(text: string, options?: EncodeOptions): Encoding;
  /** Tokens of each text, padded to one length if the options say so. Errors as `encode`. */
  encodeBatch(
    texts: readonly (string | readonly [string, string])[],
    options?: EncodeBatchOptions,
  ): Encoding[];
  /** Ids alone, in an array of the caller's own. Errors as `encode`. */
  encodeIds(text: string, options?: EncodeIdsOptions): Int32Array;
  /** How many ids `encodeIds` would give, without making them. Errors as `encode`. */
  countTokens(text: string, options?: EncodeIdsOptions): number;
  decode(ids: Iterable<number>, options?: DecodeOptions): string;
  streamDecoder(options?: StreamDecodeOptions): StreamDecoder;
  streamEncoder(options?: EncodeIdsOptions): StreamEncoder;
  tokenToId(token: string): number | undefined;
  idToToken(id: number): string | undefined;
  isSpecial(id: number): boolean;
}
