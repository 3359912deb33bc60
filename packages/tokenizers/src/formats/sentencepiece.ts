import type { AddedToken } from "../added-tokens.js";
import { HeddleError } from "../error.js";
import type { PostProcessor, TemplatePiece, TemplateToken } from "../post-processors/post-processor.js";
import { createTokenizer, type Tokenizer, type TokenRoles } from "../tokenizer.js";
import { parseSentencePieceModel, type SentencePieceFile } from "./sentencepiece-model.js";

export interface SentencePieceOptions {
  /** Put the BOS piece in front; default false, as the SentencePiece library does. */
  readonly addBosToken?: boolean;
  /** Put the EOS piece behind; default false. */
  readonly addEosToken?: boolean;
  /** Turn the names of control pieces inside the text into these pieces; default false, as the library does. */
  readonly parseControlPieces?: boolean;
  /** Further tokens to look for in the text. */
  readonly addedTokens?: readonly AddedToken[];
  /** Roles that differ from the file's. */
  readonly roles?: TokenRoles;
}

/**
 * Loads a SentencePiece `.model` file: unigram, BPE, word or char, with its normaliser and byte fallback.
 *
 * Encoding, decoding and offsets are those of the SentencePiece library.
 *
 * @throws HeddleError "format" if the bytes are not such a file, "config" if a wanted BOS or EOS piece is missing
 * @see Kudo and Richardson 2018, SentencePiece, arXiv:1808.06226
 */
export function fromSentencePiece(bytes: Uint8Array, options: SentencePieceOptions = {}): Tokenizer {
  return tokenizerOfPieces(parseSentencePieceModel(bytes), options);
}

/** Makes the tokenizer that a SentencePiece model file describes. */
export function tokenizerOfPieces(file: SentencePieceFile, options: SentencePieceOptions): Tokenizer {
  const textOf = (kind: string) =>
    file.pieces.filter((piece) => piece.kind === kind).map(({ piece }) => piece);
  const unkId = file.pieces.findIndex(({ kind }) => kind === "unknown");
  const roles = { ...rolesOf(file), ...options.roles };
  return createTokenizer({
    normalizer: {
      type: "SentencePiece",
      precompiledCharsmap: file.precompiledCharsmap,
      addDummyPrefix: file.addDummyPrefix,
      removeExtraWhitespaces: file.removeExtraWhitespaces,
      escapeWhitespaces: file.escapeWhitespaces,
      treatWhitespaceAsSuffix: file.treatWhitespaceAsSuffix,
      userDefinedSymbols: textOf("userDefined"),
    },
    preTokenizer: null,
    model: {
      type: "SentencePiece",
      algorithm: file.algorithm,
      pieces: file.pieces,
      unkId: Math.max(0, unkId),
      byteFallback: file.byteFallback,
      treatWhitespaceAsSuffix: file.treatWhitespaceAsSuffix,
    },
    postProcessor: frame(file, roles, options),
    decoder: {
      type: "SentencePiece",
      unkPiece: file.pieces[unkId]?.piece ?? file.unkPiece,
      unkSurface: file.unkSurface,
      controlPieces: textOf("control"),
      byteFallback: file.byteFallback,
      addDummyPrefix: file.addDummyPrefix,
      removeExtraWhitespaces: file.removeExtraWhitespaces,
    },
    addedTokens: addedTokens(file, options),
    roles,
  });
}

function rolesOf(file: SentencePieceFile): TokenRoles {
  const ifPresent = (name: string) => (file.pieces.some(({ piece }) => piece === name) ? name : undefined);
  return {
    bos: ifPresent(file.bosPiece),
    eos: ifPresent(file.eosPiece),
    pad: ifPresent(file.padPiece),
    unk: ifPresent(file.unkPiece),
  };
}

/** Control pieces are special; whether the text is searched for them is the caller's choice. */
function addedTokens(file: SentencePieceFile, options: SentencePieceOptions): AddedToken[] {
  const tokens: AddedToken[] = [...(options.addedTokens ?? [])];
  const listed = new Set(tokens.map(({ content }) => content));
  for (const [id, { piece, kind }] of file.pieces.entries()) {
    if ((kind !== "control" && kind !== "unknown") || listed.has(piece)) continue;
    tokens.push({
      id,
      content: piece,
      singleWord: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
      isSearched: options.parseControlPieces === true,
    });
  }
  return tokens;
}

function frame(
  file: SentencePieceFile,
  roles: TokenRoles,
  options: SentencePieceOptions,
): PostProcessor | null {
  const { addBosToken = false, addEosToken = false } = options;
  const specialTokens: Record<string, TemplateToken> = {};
  const piece = (role: "bos" | "eos", typeId: number): TemplatePiece => {
    const name = roles[role];
    const id = file.pieces.findIndex((entry) => entry.piece === name);
    if (name === undefined || id < 0) {
      throw new HeddleError(
        "config",
        `fromSentencePiece: the ${role} piece to be added must be in the model; got ${JSON.stringify(name)}. Leave ${role === "bos" ? "addBosToken" : "addEosToken"} out or name the piece in roles.`,
        { role, name },
      );
    }
    specialTokens[name] = { ids: [id], tokens: [name] };
    return { type: "SpecialToken", id: name, typeId };
  };
  if (!addBosToken && !addEosToken) return null;
  const around = (id: "A" | "B", typeId: number): TemplatePiece[] => [
    ...(addBosToken ? [piece("bos", typeId)] : []),
    { type: "Sequence", id, typeId },
    ...(addEosToken ? [piece("eos", typeId)] : []),
  ];
  return {
    type: "TemplateProcessing",
    single: around("A", 0),
    pair: [...around("A", 0), ...around("B", 1)],
    specialTokens,
  };
}
