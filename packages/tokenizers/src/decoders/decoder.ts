import { byteOfToken } from "../models/byte-fallback.js";
import type { PrependScheme } from "../pre-tokenizers/metaspace.js";
import { compilePattern, type TextPattern } from "../text-pattern.js";
import { createByteLevelStage } from "./byte-level.js";
import { createReplace } from "./replace.js";
import { createSentencePieceStage, type SentencePieceDecoder } from "./sentencepiece.js";
import { type DecodeStage, type Emit, perToken } from "./stage.js";
import { createStrip } from "./strip.js";
import { textOfRun } from "./utf8.js";
import { cleanUp, type WordPieceDecoder, wordPieceText } from "./word-piece.js";

/** Turns tokens back into text; the names and fields are those of tokenizer.json in camel case. */
export type Decoder =
  | { readonly type: "Sequence"; readonly decoders: readonly Decoder[] }
  | { readonly type: "ByteFallback" | "Fuse" }
  | {
      readonly type: "ByteLevel";
      /** The three fields mean nothing here; tokenizer.json has them. */
      readonly addPrefixSpace: boolean;
      readonly trimOffsets: boolean;
      readonly useRegex: boolean;
    }
  | {
      readonly type: "Metaspace";
      readonly replacement: string;
      readonly prependScheme: PrependScheme;
      /** Means nothing here; tokenizer.json has it. */
      readonly split: boolean;
    }
  | WordPieceDecoder
  | { readonly type: "BPEDecoder"; readonly suffix: string }
  | {
      readonly type: "CTC";
      readonly padToken: string;
      readonly wordDelimiterToken: string;
      readonly cleanup: boolean;
    }
  | { readonly type: "Strip"; readonly content: string; readonly start: number; readonly stop: number }
  | { readonly type: "Replace"; readonly pattern: TextPattern; readonly content: string }
  | SentencePieceDecoder;

/** Creates the stages of a decoder, each with fresh state. Null: tokens are joined by spaces. */
export function createDecodeStages(decoder: Decoder | null): DecodeStage[] {
  if (decoder === null) return [joinBySpaces()];
  return flatten(decoder).map(createStage);
}

/** The steps of a decoder without sequences. */
export function flatten(decoder: Decoder): Exclude<Decoder, { type: "Sequence" }>[] {
  return decoder.type === "Sequence" ? decoder.decoders.flatMap(flatten) : [decoder];
}

function createStage(decoder: Exclude<Decoder, { type: "Sequence" }>): DecodeStage {
  switch (decoder.type) {
    case "ByteLevel":
      return createByteLevelStage();
    case "ByteFallback":
      return byteFallback();
    case "Fuse":
      return fuse();
    case "Metaspace":
      return perToken((token, i) => metaspaceText(decoder, token, i));
    case "WordPiece":
      return perToken((token, i) => wordPieceText(decoder, token, i));
    case "BPEDecoder":
      return endOfWord(decoder.suffix);
    case "CTC":
      return connectionist(decoder);
    case "Strip":
      return createStrip(decoder);
    case "Replace":
      return createReplace(compilePattern(decoder.pattern), decoder);
    case "SentencePiece":
      return createSentencePieceStage(decoder);
    default:
      return decoder satisfies never;
  }
}

function joinBySpaces(): DecodeStage {
  return perToken((token, i) => (i === 0 ? token : ` ${token}`));
}

/** Text of a token whose spaces are written as a mark. */
export function metaspaceText(
  decoder: Extract<Decoder, { type: "Metaspace" }>,
  token: string,
  index: number,
): string {
  const dropsMark = index === 0 && decoder.prependScheme !== "never";
  return token.replaceAll(decoder.replacement, dropsMark ? "" : " ");
}

function fuse(): DecodeStage {
  let isFirst = true;
  return {
    push(text, _continues, emit) {
      emit(text, !isFirst);
      isFirst = false;
    },
    flush() {},
  };
}

/** Joins runs of byte tokens; a run that is not UTF-8 as a whole gives one U+FFFD for each byte. */
function byteFallback(): DecodeStage {
  let run: number[] = [];
  const release = (emit: Emit): void => {
    if (run.length === 0) return;
    const bytes = run;
    run = [];
    const text = textOfRun(bytes);
    if (text !== null) emit(text, false);
    else for (let i = 0; i < bytes.length; i++) emit("\ufffd", false);
  };
  return {
    push(text, continues, emit) {
      const byte = continues ? -1 : byteOfToken(text);
      if (byte >= 0) {
        run.push(byte);
        return;
      }
      release(emit);
      emit(text, continues);
    },
    flush: release,
  };
}

/** The suffix becomes a space, except in the last token, where it vanishes: so one token is held back. */
function endOfWord(suffix: string): DecodeStage {
  let held: string | null = null;
  return {
    push(text, _continues, emit) {
      if (held !== null) emit(held.replaceAll(suffix, " "), false);
      held = text;
    },
    flush(emit) {
      if (held !== null) emit(held.replaceAll(suffix, ""), false);
      held = null;
    },
  };
}

/** @see Graves et al. 2006, Connectionist Temporal Classification: repeats collapse, the pad token is the blank */
function connectionist(options: {
  readonly padToken: string;
  readonly wordDelimiterToken: string;
  readonly cleanup: boolean;
}): DecodeStage {
  let last: string | null = null;
  return {
    push(text, _continues, emit) {
      if (text === last) return;
      last = text;
      let result = text.replaceAll(options.padToken, "");
      if (options.cleanup) result = cleanUp(result).replaceAll(options.wordDelimiterToken, " ");
      if (result !== "") emit(result, false);
    },
    flush() {},
  };
}
