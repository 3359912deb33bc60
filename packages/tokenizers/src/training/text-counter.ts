import { createAddedTokenFinder } from "../added-tokens.js";
import type { AlignedText } from "../aligned-text.js";
import { toByteLevel } from "../byte-level.js";
import { compileNormalizer, type Normalizer } from "../normalizers/normalizer.js";
import type { PreTokenizer } from "../pre-tokenizers/kinds.js";
import { compilePreTokenizer } from "../pre-tokenizers/pre-tokenizer.js";
import { plainSpecialToken } from "../special-token.js";
import type { SentencePieceSpec } from "./sentencepiece/options.js";
import { createSentenceNormalizer } from "./sentencepiece/sentence-normalizer.js";
import { splitIntoWords } from "./sentencepiece/words.js";

/** How text is cut into the words that training counts; plain data, so that it can be sent to a worker. */
export type WordSource =
  | {
      readonly kind: "pipeline";
      readonly normalizer: Normalizer | null;
      readonly preTokenizer: PreTokenizer | null;
      /** Texts that end a word and are not counted themselves. */
      readonly separators: readonly string[];
    }
  | {
      readonly kind: "sentencePiece";
      readonly spec: SentencePieceSpec;
      /** Texts in the place of symbols that are not learned. */
      readonly symbols: readonly string[];
    };

/** Counts the words of texts. */
export class TextCounter {
  /** Words as they stand in the text; `finish` writes them in the byte alphabet where that is wanted. */
  readonly counts: Map<string, number>;
  private readonly wordsOf: (text: string) => Iterable<string>;
  private readonly endsInBytes: boolean;

  constructor(source: WordSource, counts: Iterable<readonly [string, number]> = []) {
    this.counts = new Map(counts);
    const { wordsOf, endsInBytes } = compileSource(source);
    this.wordsOf = wordsOf;
    this.endsInBytes = endsInBytes;
  }

  add(text: string): void {
    const { counts } = this;
    for (const word of this.wordsOf(text)) counts.set(word, (counts.get(word) ?? 0) + 1);
  }

  /** Adds counts that were made elsewhere. */
  addCounts(entries: Iterable<readonly [string, number]>): void {
    const { counts } = this;
    for (const [word, count] of entries) counts.set(word, (counts.get(word) ?? 0) + count);
  }

  finish(): Map<string, number> {
    if (!this.endsInBytes) return this.counts;
    return new Map(Array.from(this.counts, ([word, count]) => [toByteLevel(word), count]));
  }
}

interface CompiledSource {
  readonly wordsOf: (text: string) => Iterable<string>;
  readonly endsInBytes: boolean;
}

function compileSource(source: WordSource): CompiledSource {
  if (source.kind === "sentencePiece") {
    const { spec, symbols } = source;
    const normalize = createSentenceNormalizer(spec, symbols);
    return {
      endsInBytes: false,
      wordsOf(text) {
        const sentence = normalize(text);
        if (sentence === "") return [];
        return spec.splitByWhitespace ? splitIntoWords(sentence, spec) : [sentence];
      },
    };
  }
  const normalizer = source.normalizer === null ? null : compileNormalizer(source.normalizer);
  const preTokenizer = compilePreTokenizer(source.preTokenizer);
  const finder = createAddedTokenFinder(
    source.separators.map((content) => plainSpecialToken(content, 0)),
    normalizer,
  );
  const options = { parseSpecial: true, track: preTokenizer.needsAlignment };
  return {
    endsInBytes: preTokenizer.bytes !== null,
    wordsOf(text) {
      const words: AlignedText[] = [];
      for (const segment of finder.split(text, options)) {
        if (segment.token === null) preTokenizer.split(segment.text, words);
      }
      return words.map((word) => word.text);
    },
  };
}
