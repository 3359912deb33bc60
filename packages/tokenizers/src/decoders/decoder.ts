import { fromByteLevel } from "../byte-level.js";
import { byteOfToken } from "../models/byte-fallback.js";
import type { PrependScheme } from "../pre-tokenizers/metaspace.js";
import { compilePattern, type TextPattern } from "../text-pattern.js";
import { createReplace } from "./replace.js";
import { createSentencePieceStage, type SentencePieceDecoder } from "./sentencepiece.js";
import { createStrip } from "./strip.js";
import { isWholeUtf8 } from "./utf8.js";

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
  | { readonly type: "WordPiece"; readonly prefix: string; readonly cleanup: boolean }
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

/** Receives a piece of text; `continues`: it belongs to the same token as the piece before it. */
export type Emit = (text: string, continues: boolean) => void;

/**
 * One step of decoding. Steps are fed token by token, so decoding a whole list and decoding a stream are the same
 * computation: a stage holds back only what a later token can still change.
 */
export interface DecodeStage {
  push(text: string, continues: boolean, emit: Emit): void;
  flush(emit: Emit): void;
}

/** Creates the stages of a decoder, each with fresh state. Null: tokens are joined by spaces. */
export function createDecodeStages(decoder: Decoder | null): DecodeStage[] {
  if (decoder === null) return [joinBySpaces()];
  return flatten(decoder).map(createStage);
}

function flatten(decoder: Decoder): Exclude<Decoder, { type: "Sequence" }>[] {
  return decoder.type === "Sequence" ? decoder.decoders.flatMap(flatten) : [decoder];
}

function createStage(decoder: Exclude<Decoder, { type: "Sequence" }>): DecodeStage {
  switch (decoder.type) {
    case "ByteLevel":
      return byteLevel();
    case "ByteFallback":
      return byteFallback();
    case "Fuse":
      return fuse();
    case "Metaspace":
      return perToken((token, i) => {
        const dropsMark = i === 0 && decoder.prependScheme !== "never";
        return token.replaceAll(decoder.replacement, dropsMark ? "" : " ");
      });
    case "WordPiece":
      return perToken((token, i) => {
        const inner = token.startsWith(decoder.prefix) ? token.slice(decoder.prefix.length) : ` ${token}`;
        const joined = i === 0 ? token : inner;
        return decoder.cleanup ? cleanUp(joined) : joined;
      });
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

/** A stage that maps each whole token by itself. A token in several pieces is treated piece by piece. */
function perToken(map: (token: string, index: number) => string): DecodeStage {
  let index = 0;
  return {
    push(text, continues, emit) {
      emit(map(text, index++), continues);
    },
    flush() {},
  };
}

function joinBySpaces(): DecodeStage {
  return perToken((token, i) => (i === 0 ? token : ` ${token}`));
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

/** Reads the byte alphabet; a token that is not written in it counts as its UTF-8 bytes. */
function byteLevel(): DecodeStage {
  const encoder = new TextEncoder();
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  let isFirst = true;
  const put = (text: string, emit: Emit): void => {
    if (text === "") return;
    emit(text, !isFirst);
    isFirst = false;
  };
  return {
    push: (text, _continues, emit) =>
      put(decoder.decode(fromByteLevel(text) ?? encoder.encode(text), { stream: true }), emit),
    flush: (emit) => put(decoder.decode(), emit),
  };
}

/** Joins runs of byte tokens; a run that is not UTF-8 as a whole gives one U+FFFD for each byte. */
function byteFallback(): DecodeStage {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  let run: number[] = [];
  const release = (emit: Emit): void => {
    if (run.length === 0) return;
    const bytes = Uint8Array.from(run);
    run = [];
    if (isWholeUtf8(bytes)) emit(decoder.decode(bytes), false);
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

/** Undoes the spaces that tokenization put before punctuation and English contractions. */
function cleanUp(text: string): string {
  return text
    .replaceAll(" .", ".")
    .replaceAll(" ?", "?")
    .replaceAll(" !", "!")
    .replaceAll(" ,", ",")
    .replaceAll(" ' ", "'")
    .replaceAll(" n't", "n't")
    .replaceAll(" 'm", "'m")
    .replaceAll(" do not", " don't")
    .replaceAll(" 's", "'s")
    .replaceAll(" 've", "'ve")
    .replaceAll(" 're", "'re");
}
