import type { AddedToken } from "./added-tokens.js";
import { createBertWords } from "./bert-words.js";
import { ByteLevelDecoder } from "./decoders/byte-level.js";
import { createDecodeStages, type Decoder } from "./decoders/decoder.js";
import { createStreamDecoder, type StreamDecoder } from "./decoders/stream.js";
import { Encoding } from "./encoding.js";
import { HeddleError } from "./error.js";
import { compileModel, type Model } from "./models/model.js";
import { createRandom, type Sampling } from "./models/sampling.js";
import { compileNormalizer, type Normalizer } from "./normalizers/normalizer.js";
import { type Padding, padEncodings } from "./padding.js";
import { countAddedTokens, type PostProcessor, postProcess } from "./post-processors/post-processor.js";
import { compilePreTokenizer, type PreTokenizer } from "./pre-tokenizers/pre-tokenizer.js";
import { createStreamEncoder, type StreamEncoder } from "./stream-encoder.js";
import { TextTokenizer } from "./text-tokenizer.js";
import { TokenBuffer } from "./token-buffer.js";
import { TokenList } from "./token-list.js";
import { createTokenNames, type TokenNames } from "./token-names.js";
import { combineWindows, type Truncation, truncateLists } from "./truncation.js";

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
  encode(text: string, options?: EncodeOptions): Encoding;
  encodeBatch(
    texts: readonly (string | readonly [string, string])[],
    options?: EncodeBatchOptions,
  ): Encoding[];
  encodeIds(text: string, options?: EncodeIdsOptions): Int32Array;
  countTokens(text: string, options?: EncodeIdsOptions): number;
  decode(ids: Iterable<number>, options?: DecodeOptions): string;
  streamDecoder(options?: StreamDecodeOptions): StreamDecoder;
  streamEncoder(options?: EncodeIdsOptions): StreamEncoder;
  tokenToId(token: string): number | undefined;
  idToToken(id: number): string | undefined;
  isSpecial(id: number): boolean;
}

/**
 * Creates a tokenizer from its parts.
 *
 * - `encode(text)` returns ids, tokens, masks and offsets. Offsets are [start, end) in UTF-16 units of the original
 *   text: `text.slice(start, end)` is what the token stands for. A token that holds part of a character covers it
 *   whole, so neighbours may overlap there.
 * - `encodeIds(text)` returns the same ids and builds nothing else; `countTokens(text)` not even these.
 * - `streamEncoder()` takes a text in parts and returns ids as soon as they are certain.
 * - `decode(ids)` returns text; `streamDecoder()` gives it out token by token and never half a character.
 *
 * A lone surrogate has no UTF-8 form and is encoded like U+FFFD.
 *
 * A BPE model with `dropout` draws its segmentations with seed 0; `createSamplingTokenizer` takes another seed, and
 * `createTokenizer({ ...config, model: { ...model, dropout: null } })` turns dropout off.
 *
 * @throws HeddleError "format" if the parts contradict each other (a merge of unknown tokens ...)
 */
export function createTokenizer(config: TokenizerConfig): Tokenizer {
  const { model } = config;
  const dropout = model.type === "BPE" ? (model.dropout ?? 0) : 0;
  return new Pipeline(config, dropout > 0 ? { alpha: 1, dropout, random: createRandom(0) } : null);
}

export interface SamplingOptions {
  /** Starts the sequence of random numbers; the same seed gives the same tokens, call for call. */
  readonly seed: number;
  /** Unigram: exponent of a segmentation's probability; default 0.1. 1: as the model has it; 0: all alike. */
  readonly alpha?: number;
  /** BPE: probability that a possible merge is passed over; default 0.1. 0: none; 1: characters or bytes only. */
  readonly dropout?: number;
}

/**
 * Creates a tokenizer that draws a new segmentation at each call, so that a model in training sees many.
 *
 * - Unigram models draw from all segmentations with probability proportional to P^alpha (Kudo 2018, Subword
 *   Regularization, arXiv:1804.10959, section 3).
 * - BPE models pass over each possible merge with probability `dropout` (Provilkov et al. 2020, arXiv:1910.13267).
 *
 * Decoding does not change. Encoding advances the random numbers: `encode` and `countTokens` of one text may differ.
 *
 * @param config  the parts, for example `tokenizer.config` of a loaded tokenizer
 * @throws HeddleError "unsupported" for models with one segmentation only, "config" if alpha or dropout is out of range
 */
export function createSamplingTokenizer(config: TokenizerConfig, options: SamplingOptions): Tokenizer {
  const { seed, alpha = 0.1, dropout = 0.1 } = options;
  if (!(alpha >= 0 && Number.isFinite(alpha) && dropout >= 0 && dropout <= 1)) {
    throw new HeddleError(
      "config",
      `createSamplingTokenizer: alpha must be at least 0 and dropout from 0 to 1; got alpha ${alpha}, dropout ${dropout}. Correct them; 0.1 is usual for both.`,
      { alpha, dropout },
    );
  }
  return new Pipeline(config, { alpha, dropout, random: createRandom(seed) });
}

class Pipeline implements Tokenizer {
  private readonly names: TokenNames;
  private readonly text: TextTokenizer;
  private readonly frame: Frame | null;
  private readonly buffer = new TokenBuffer();
  private readonly byteDecoder = new ByteLevelDecoder((id) => this.requireToken(id));

  constructor(
    readonly config: TokenizerConfig,
    sampling: Sampling | null = null,
  ) {
    const model = compileModel(config.model, sampling);
    this.names = createTokenNames(model.vocabulary, config.addedTokens);
    const parts = {
      normalizer: config.normalizer === null ? null : compileNormalizer(config.normalizer),
      preTokenizer: compilePreTokenizer(config.preTokenizer),
      model,
    };
    const quick = sampling === null ? createBertWords(config, parts) : null;
    this.text = new TextTokenizer({
      ...(quick === null ? parts : { ...quick, normalizer: null }),
      names: this.names,
      isRandom: sampling !== null,
    });
    this.frame = singleFrame(config.postProcessor);
  }

  get vocabSize(): number {
    return this.names.size;
  }
  get idLimit(): number {
    return this.names.idLimit;
  }
  get specialTokens(): readonly string[] {
    return this.names.specialTokens;
  }
  get bosId(): number | undefined {
    return this.idOfRole("bos");
  }
  get eosId(): number | undefined {
    return this.idOfRole("eos");
  }
  get padId(): number | undefined {
    return this.idOfRole("pad");
  }
  get unkId(): number | undefined {
    return this.idOfRole("unk");
  }

  encode(text: string, options: EncodeOptions = {}): Encoding {
    const { addSpecialTokens = true, parseSpecialTokens = true, pair, truncation } = options;
    const texts = pair === undefined ? [text] : [text, pair];
    const lists = texts.map((each, i) => this.tokenList(each, i, parseSpecialTokens));
    const { postProcessor } = this.config;
    const join = (parts: readonly TokenList[]) => postProcess(postProcessor, parts, addSpecialTokens);
    if (truncation === undefined) return new Encoding(join(lists), this.names.nameOf);
    const numAdded = addSpecialTokens ? countAddedTokens(postProcessor, pair !== undefined) : 0;
    const [kept = [], ...rest] = combineWindows(truncateLists(lists, truncation, numAdded));
    const overflowing = rest.map((parts) => new Encoding(join(parts), this.names.nameOf));
    return new Encoding(join(kept), this.names.nameOf, overflowing);
  }

  encodeBatch(
    texts: readonly (string | readonly [string, string])[],
    options: EncodeBatchOptions = {},
  ): Encoding[] {
    const { padding, ...rest } = options;
    const encodings = texts.map((each) =>
      typeof each === "string" ? this.encode(each, rest) : this.encode(each[0], { ...rest, pair: each[1] }),
    );
    return padding === undefined ? encodings : padEncodings(encodings, padding);
  }

  encodeIds(text: string, options: EncodeIdsOptions = {}): Int32Array {
    const { addSpecialTokens = true, parseSpecialTokens = true } = options;
    if (addSpecialTokens && this.frame === null) return this.encode(text, options).ids;
    this.text.fill(this.buffer, text, { parseSpecial: parseSpecialTokens, keeps: "ids" });
    const { ids, length } = this.buffer;
    if (!addSpecialTokens || this.frame === null) return ids.slice(0, length);
    const { before, after } = this.frame;
    const framed = new Int32Array(before.length + length + after.length);
    framed.set(before);
    framed.set(ids.subarray(0, length), before.length);
    framed.set(after, before.length + length);
    return framed;
  }

  countTokens(text: string, options: EncodeIdsOptions = {}): number {
    const { addSpecialTokens = true, parseSpecialTokens = true } = options;
    this.text.fill(this.buffer, text, { parseSpecial: parseSpecialTokens, keeps: "count" });
    return this.buffer.length + (addSpecialTokens ? countAddedTokens(this.config.postProcessor, false) : 0);
  }

  decode(ids: Iterable<number>, options: DecodeOptions = {}): string {
    const { skipSpecialTokens = false } = options;
    if (this.config.decoder?.type === "ByteLevel") {
      return this.byteDecoder.decode(ids, (id) => skipSpecialTokens && this.names.isSpecial(id));
    }
    const stream = this.streamDecoder(options);
    let text = "";
    for (const id of ids) text += stream.push(id);
    return text + stream.flush();
  }

  streamDecoder(options: StreamDecodeOptions = {}): StreamDecoder {
    const { skipSpecialTokens = false, after = [] } = options;
    const stream = createStreamDecoder(createDecodeStages(this.config.decoder), (id) => {
      if (skipSpecialTokens && this.names.isSpecial(id)) return null;
      return this.requireToken(id);
    });
    for (const id of after) stream.push(id);
    return stream;
  }

  streamEncoder(options: EncodeIdsOptions = {}): StreamEncoder {
    const { addSpecialTokens = true } = options;
    return createStreamEncoder({
      endsWordsAtSpaces: this.text.endsWordsAtSpaces,
      frame: addSpecialTokens ? this.frame : { before: [], after: [] },
      encode: (text) => this.encodeIds(text, { ...options, addSpecialTokens: false }),
      encodeWhole: (text) => this.encodeIds(text, options),
    });
  }

  tokenToId(token: string): number | undefined {
    return this.names.idOf(token);
  }

  idToToken(id: number): string | undefined {
    return this.names.tokenOf(id);
  }

  isSpecial(id: number): boolean {
    return this.names.isSpecial(id);
  }

  private requireToken(id: number): string {
    const token = this.names.tokenOf(id);
    if (token !== undefined) return token;
    throw new HeddleError(
      "config",
      `decode: every id must be in the vocabulary; got id ${id}, idLimit ${this.idLimit}. Check that the ids came from this tokenizer's model.`,
      { id, idLimit: this.idLimit },
    );
  }

  private idOfRole(role: keyof TokenRoles): number | undefined {
    const token = this.config.roles?.[role];
    return token === undefined ? undefined : this.names.idOf(token);
  }

  private tokenList(text: string, sequence: number, parseSpecial: boolean): TokenList {
    this.text.fill(this.buffer, text, { parseSpecial, keeps: "ranges" });
    const { ids, starts, ends, length, surfaces } = this.buffer;
    return new TokenList({
      ids: ids.slice(0, length),
      starts: starts.slice(0, length),
      ends: ends.slice(0, length),
      surfaces: new Map(surfaces),
      nameOf: this.names.nameOf,
      typeId: sequence,
      sequence,
      source: text,
    });
  }
}

/** The ids that a post-processor puts around a single text. */
interface Frame {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

/** Finds the frame; null if the text does not come exactly once (a template may repeat it). */
function singleFrame(processor: PostProcessor | null): Frame | null {
  const empty = new Int32Array(0);
  const marker = new TokenList({
    ids: empty,
    starts: empty,
    ends: empty,
    surfaces: new Map(),
    nameOf: () => "",
    typeId: 0,
    sequence: 0,
  });
  const lists = postProcess(processor, [marker], true);
  const at = lists.findIndex(({ sequence }) => sequence === 0);
  if (lists.filter(({ sequence }) => sequence === 0).length !== 1) return null;
  const idsOf = (part: readonly TokenList[]) => part.flatMap((list) => [...list.ids]);
  return { before: idsOf(lists.slice(0, at)), after: idsOf(lists.slice(at + 1)) };
}
