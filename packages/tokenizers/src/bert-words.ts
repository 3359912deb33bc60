import { type AlignedText, alignOriginal } from "./aligned-text.js";
import type { CompiledModel } from "./models/compiled.js";
import { type BertOptions, traceBert } from "./normalizers/bert.js";
import { type CompiledNormalizer, compileTraced } from "./normalizers/compiled.js";
import type { TokenizerParts } from "./pipeline.js";
import { createBertScanner } from "./pre-tokenizers/scanners/bert.js";
import { bertSteps, chain } from "./pre-tokenizers/steps.js";
import type { CompiledPreTokenizer } from "./pre-tokenizers/word-finder.js";
import { TokenBuffer } from "./token-buffer.js";
import type { TokenizerConfig } from "./tokenizer.js";

/** The parts of the quick way: the normalizer runs inside the model, on stretches of the original text. */
export interface BertWords {
  readonly preTokenizer: CompiledPreTokenizer;
  readonly model: CompiledModel;
}

/**
 * Lets a tokenizer of BERT's kind work on stretches of the original text, so that a stretch which came before is
 * neither cleaned nor cut again. Null where that cannot be done: other parts, or added tokens to be found in clean text.
 *
 * Twin: the same parts run one after the other over the whole text
 */
export function createBertWords(
  config: TokenizerConfig,
  parts: {
    readonly normalizer: CompiledNormalizer | null;
    readonly preTokenizer: CompiledPreTokenizer;
    readonly model: CompiledModel;
  },
): BertWords | null {
  const { normalizer, preTokenizer, model } = parts;
  const isBert =
    config.normalizer?.type === "BertNormalizer" && config.preTokenizer?.type === "BertPreTokenizer";
  const findsInClean = config.addedTokens.some((token) => token.normalized && token.isSearched !== false);
  if (!isBert || normalizer === null || findsInClean) return null;
  const words: AlignedText[] = [];
  const scratch = new TokenBuffer();
  const lowers = config.normalizer.lowercase;
  const tokenize = (stretch: string, out: TokenBuffer): void => {
    const start = plainWordStart(stretch);
    if (start >= 0) {
      if (start === stretch.length) return;
      const word = start === 0 ? stretch : stretch.slice(start);
      scratch.clear();
      model.tokenize(lowers ? word.toLowerCase() : word, scratch);
      appendMoved(scratch, { text: word, base: start, starts: null, ends: null }, out);
      return;
    }
    words.length = 0;
    preTokenizer.split(normalizer.align(alignOriginal(stretch)), words);
    for (const word of words) {
      scratch.clear();
      model.tokenize(word.text, scratch);
      appendMoved(scratch, word, out);
    }
  };
  return {
    preTokenizer: {
      ...preTokenizer,
      scanner: createBertScanner(config.normalizer.handleChineseChars),
      prepare: null,
    },
    model: {
      ...model,
      tokenize,
      tokenizeUnits: null,
      tokenizeBytes: null,
      createCuts: null,
      createByteCuts: null,
    },
  };
}

/** Prepares BERT's clean-up, words and a model: the quick way where it can be gone. */
export function compileBertParts(
  config: TokenizerConfig,
  cleanUp: BertOptions,
  model: CompiledModel,
): Pick<TokenizerParts, "normalizer" | "preTokenizer" | "model"> {
  const normalizer = compileTraced((text) => traceBert(text, cleanUp));
  const preTokenizer = {
    split: chain(bertSteps()),
    bytes: null,
    scanner: null,
    prepare: null,
    isWhole: false,
    needsAlignment: false,
  };
  const quick = createBertWords(config, { normalizer, preTokenizer, model });
  return quick === null ? { normalizer, preTokenizer, model } : { ...quick, normalizer: null };
}

/** Where the word of a stretch of plain ASCII, which needs no clean-up but lower case, begins; -1 for other stretches. */
function plainWordStart(stretch: string): number {
  let start = 0;
  for (let at = 0; at < stretch.length; at++) {
    const unit = stretch.charCodeAt(at);
    const isSpace = unit === 0x20 || unit === 0x0a || unit === 0x0d || unit === 0x09;
    if (isSpace && start === at) start++;
    else if (isSpace || unit < 0x20 || unit > 0x7e) return -1;
  }
  return start;
}

/** Appends the tokens of a word with their ranges in the stretch that it came from. */
function appendMoved(tokens: TokenBuffer, word: AlignedText, out: TokenBuffer): void {
  for (let i = 0; i < tokens.length; i++) {
    const first = tokens.starts[i] as number;
    const last = (tokens.ends[i] as number) - 1;
    const start = word.starts === null ? word.base + first : (word.starts[first] as number);
    const end = word.ends === null ? word.base + last + 1 : (word.ends[last] as number);
    const surface = tokens.surfaces.get(i);
    if (surface === undefined) out.push(tokens.ids[i] as number, start, end);
    else out.pushSurface(tokens.ids[i] as number, [start, end], surface);
  }
}
