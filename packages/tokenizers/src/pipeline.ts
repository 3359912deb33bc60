import type { QuickDecoder } from "./decoders/quick.js";
import type { DecodeStage } from "./decoders/stage.js";
import { createStreamDecoder, type StreamDecoder } from "./decoders/stream.js";
import { Encoding } from "./encoding.js";
import { HeddleError } from "./error.js";
import { type Frame, framed, NO_FRAME } from "./frame.js";
import type { CompiledModel } from "./models/compiled.js";
import type { CompiledNormalizer } from "./normalizers/compiled.js";
import { padEncodings } from "./padding.js";
import { type CompiledPostProcessor, NO_POST_PROCESSOR } from "./post-processors/compiled.js";
import type { WordFinder } from "./pre-tokenizers/word-finder.js";
import { createStreamEncoder, type StreamEncoder } from "./stream-encoder.js";
import { TextTokenizer } from "./text-tokenizer.js";
import { TokenBuffer } from "./token-buffer.js";
import { paddingTokens, TokenList } from "./token-list.js";
import { createTokenNames, type TokenNames } from "./token-names.js";
import type {
  DecodeOptions,
  EncodeBatchOptions,
  EncodeIdsOptions,
  EncodeOptions,
  StreamDecodeOptions,
  Tokenizer,
  TokenizerConfig,
  TokenRoles,
} from "./tokenizer.js";
import { combineWindows, truncateLists } from "./truncation.js";

/**
 * The parts of a tokenizer, ready to run. Whoever assembles them knows their kinds, so a loader of one kind of file
 * brings the code of this kind alone into a bundle, and `createTokenizer` that of all.
 */
export interface TokenizerParts {
  readonly normalizer: CompiledNormalizer | null;
  readonly preTokenizer: WordFinder;
  readonly model: CompiledModel;
  readonly postProcessor?: CompiledPostProcessor;
  /** Makes the stages of decoding with fresh state. */
  readonly createDecodeStages: () => DecodeStage[];
  /** Decodes whole lists as the stages do, if there is a quicker way. */
  readonly quickDecoder?: QuickDecoder | null;
  /** True if the same word may give other tokens at each call; default false. */
  readonly isRandom?: boolean;
}

/** Makes a tokenizer of parts; `config` says in data what they are. */
export function assembleTokenizer(config: TokenizerConfig, parts: TokenizerParts): Tokenizer {
  return new Pipeline(config, parts);
}

class Pipeline implements Tokenizer {
  private readonly names: TokenNames;
  private readonly text: TextTokenizer;
  private readonly frame: Frame | null;
  private readonly tokens = new TokenBuffer();
  /** For what wants no ranges. */
  private readonly ids = new TokenBuffer(false);
  private readonly postProcessor: CompiledPostProcessor;

  constructor(
    readonly config: TokenizerConfig,
    private readonly parts: TokenizerParts,
  ) {
    const { normalizer, preTokenizer, model, postProcessor = NO_POST_PROCESSOR, isRandom = false } = parts;
    this.names = createTokenNames(model.vocabulary, config.addedTokens);
    this.text = new TextTokenizer({ normalizer, preTokenizer, model, names: this.names, isRandom });
    this.postProcessor = postProcessor;
    this.frame = singleFrame(postProcessor);
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
    const { postProcessor } = this;
    const join = (parts: readonly TokenList[]) => postProcessor.process(parts, addSpecialTokens);
    if (truncation === undefined) return new Encoding(join(lists), this.names.nameOf);
    const numAdded = addSpecialTokens ? postProcessor.countAdded(pair !== undefined) : 0;
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
    const frame = addSpecialTokens ? this.frame : NO_FRAME;
    if (frame === null) return this.encode(text, options).ids;
    this.text.fill(this.ids, text, { parseSpecial: parseSpecialTokens });
    const { ids, length } = this.ids;
    return framed(ids.subarray(0, length), frame);
  }

  countTokens(text: string, options: EncodeIdsOptions = {}): number {
    const { addSpecialTokens = true, parseSpecialTokens = true } = options;
    this.text.fill(this.ids, text, { parseSpecial: parseSpecialTokens, keepsIds: false });
    return this.ids.length + (addSpecialTokens ? this.postProcessor.countAdded(false) : 0);
  }

  decode(ids: Iterable<number>, options: DecodeOptions = {}): string {
    const { skipSpecialTokens = false } = options;
    const quick = this.parts.quickDecoder ?? null;
    if (quick !== null) {
      const skips = (id: number): boolean => skipSpecialTokens && this.names.isSpecial(id);
      return quick.decode(ids, skips, this.requireToken);
    }
    const stream = this.streamDecoder(options);
    let text = "";
    for (const id of ids) text += stream.push(id);
    return text + stream.flush();
  }

  streamDecoder(options: StreamDecodeOptions = {}): StreamDecoder {
    const { skipSpecialTokens = false, after = [] } = options;
    const stream = createStreamDecoder(this.parts.createDecodeStages(), (id) => {
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
      frame: addSpecialTokens ? this.frame : NO_FRAME,
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

  private readonly requireToken = (id: number): string => {
    const token = this.names.tokenOf(id);
    if (token !== undefined) return token;
    throw new HeddleError(
      "config",
      `decode: every id must be in the vocabulary; got id ${id}, idLimit ${this.idLimit}. Check that the ids came from this tokenizer's model.`,
      { id, idLimit: this.idLimit },
    );
  };

  private idOfRole(role: keyof TokenRoles): number | undefined {
    const token = this.config.roles?.[role];
    return token === undefined ? undefined : this.names.idOf(token);
  }

  private tokenList(text: string, sequence: number, parseSpecial: boolean): TokenList {
    this.text.fill(this.tokens, text, { parseSpecial });
    return new TokenList({
      ...this.tokens.take(),
      surfaces: new Map(this.tokens.surfaces),
      nameOf: this.names.nameOf,
      typeId: sequence,
      sequence,
      source: text,
    });
  }
}

/**
 * Finds what a post-processor puts around a single text, for which an empty list of padding stands; null if the text
 * does not come exactly once (a template may repeat it).
 */
function singleFrame(processor: CompiledPostProcessor): Frame | null {
  const isText = ({ isPadding }: TokenList): boolean => isPadding;
  const lists = processor.process([paddingTokens(0, 0, 0)], true);
  const at = lists.findIndex(isText);
  if (lists.filter(isText).length !== 1) return null;
  const idsOf = (part: readonly TokenList[]) => part.flatMap((list) => [...list.ids]);
  return { before: idsOf(lists.slice(0, at)), after: idsOf(lists.slice(at + 1)) };
}
