import { byteOfToken } from "../models/byte-fallback.js";
import { ByteLevelDecoder } from "./byte-level.js";
import { createDecodeStages, type Decoder, flatten, metaspaceText } from "./decoder.js";
import { type QuickDecoder, TokenTextDecoder } from "./quick.js";
import { createSentencePieceQuick } from "./sentencepiece.js";
import { textOfRun } from "./utf8.js";
import { wordPieceText } from "./word-piece.js";

/** Finds the quick way of a decoder; null if what becomes of a token depends on those around it. */
export function createQuickDecoder(decoder: Decoder | null): QuickDecoder | null {
  if (decoder?.type === "ByteLevel") return new ByteLevelDecoder();
  if (decoder?.type === "SentencePiece") return createSentencePieceQuick(decoder);
  const textOf = decoder === null ? joined : tokenText(flatten(decoder));
  if (textOf === null) return null;
  return new TokenTextDecoder({
    createStages: () => createDecodeStages(decoder),
    textOf,
    textOfBytes: (bytes) => textOfRun(bytes) ?? "\ufffd".repeat(bytes.length),
  });
}

const joined = (token: string): string => ` ${token}`;

type Step = ReturnType<typeof flatten>[number];

/** Steps that look at one token each, then at most bytes, and at the end Fuse and a Strip at the start of the text. */
function tokenText(steps: readonly Step[]): ((token: string) => string | number) | null {
  const maps: ((token: string) => string)[] = [];
  let at = 0;
  for (; at < steps.length; at++) {
    const map = mapOf(steps[at] as Step);
    if (map === null) break;
    maps.push(map);
  }
  const readsBytes = steps[at]?.type === "ByteFallback";
  const tail = steps.slice(readsBytes ? at + 1 : at);
  const isPlain = tail.every((step, i) =>
    i === 0 ? step.type === "Fuse" : step.type === "Strip" && step.stop === 0,
  );
  if (!isPlain) return null;
  return (token) => {
    const text = maps.reduce((now, map) => map(now), token);
    const byte = readsBytes ? byteOfToken(text) : -1;
    return byte >= 0 ? byte : text;
  };
}

/** What a step makes of a token that is not the first; null for a step of another kind. */
function mapOf(step: Step): ((token: string) => string) | null {
  switch (step.type) {
    case "Metaspace":
      return (token) => metaspaceText(step, token, 1);
    case "WordPiece":
      return (token) => wordPieceText(step, token, 1);
    case "Replace": {
      const { pattern, content } = step;
      if (pattern.type !== "String" || pattern.text.length !== 1) return null;
      return (token) => token.replaceAll(pattern.text, () => content);
    }
    default:
      return null;
  }
}
