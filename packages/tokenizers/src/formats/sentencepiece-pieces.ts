import type { AddedToken } from "../added-tokens.js";
import { createSentencePieceQuick, createSentencePieceStage } from "../decoders/sentencepiece.js";
import { HeddleError } from "../error.js";
import { compileSentencePieceModel } from "../models/sentencepiece.js";
import type { CompiledAlgorithm, SentencePieceModel } from "../models/sentencepiece-pieces.js";
import { compileSentencePieceNormalizer } from "../normalizers/sentencepiece.js";
import { assembleTokenizer } from "../pipeline.js";
import {
  compileTemplate,
  type Template,
  type TemplatePiece,
  type TemplateToken,
} from "../post-processors/template.js";
import { WHOLE_TEXT } from "../pre-tokenizers/scanned.js";
import { plainSpecialToken } from "../special-token.js";
import type { Tokenizer, TokenizerConfig, TokenRoles } from "../tokenizer.js";
import type { SentencePieceFile } from "./sentencepiece-model.js";

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

/** Makes the tokenizer that a SentencePiece model file describes. */
export function tokenizerOfPieces(
  file: SentencePieceFile,
  options: SentencePieceOptions,
  compile: (model: SentencePieceModel) => CompiledAlgorithm,
): Tokenizer {
  const textOf = (kind: string) =>
    file.pieces.filter((piece) => piece.kind === kind).map(({ piece }) => piece);
  const unkId = file.pieces.findIndex(({ kind }) => kind === "unknown");
  const roles = { ...rolesOf(file), ...options.roles };
  const template = frame(file, roles, options);
  const normalizer = {
    type: "SentencePiece",
    precompiledCharsmap: file.precompiledCharsmap,
    addDummyPrefix: file.addDummyPrefix,
    removeExtraWhitespaces: file.removeExtraWhitespaces,
    escapeWhitespaces: file.escapeWhitespaces,
    treatWhitespaceAsSuffix: file.treatWhitespaceAsSuffix,
    userDefinedSymbols: textOf("userDefined"),
  } as const;
  const model = {
    type: "SentencePiece",
    algorithm: file.algorithm,
    pieces: file.pieces,
    unkId: Math.max(0, unkId),
    byteFallback: file.byteFallback,
    treatWhitespaceAsSuffix: file.treatWhitespaceAsSuffix,
  } as const;
  const decoder = {
    type: "SentencePiece",
    unkPiece: file.pieces[unkId]?.piece ?? file.unkPiece,
    unkSurface: file.unkSurface,
    controlPieces: textOf("control"),
    byteFallback: file.byteFallback,
    addDummyPrefix: file.addDummyPrefix,
    removeExtraWhitespaces: file.removeExtraWhitespaces,
  } as const;
  const config: TokenizerConfig = {
    normalizer,
    preTokenizer: null,
    model,
    postProcessor: template,
    decoder,
    addedTokens: addedTokens(file, options),
    roles,
  };
  return assembleTokenizer(config, {
    normalizer: compileSentencePieceNormalizer(normalizer),
    preTokenizer: WHOLE_TEXT,
    model: compileSentencePieceModel(model, compile(model)),
    ...(template === null ? {} : { postProcessor: compileTemplate(template) }),
    createDecodeStages: () => [createSentencePieceStage(decoder)],
    quickDecoder: createSentencePieceQuick(decoder),
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
    tokens.push({ ...plainSpecialToken(piece, id), isSearched: options.parseControlPieces === true });
  }
  return tokens;
}

function frame(file: SentencePieceFile, roles: TokenRoles, options: SentencePieceOptions): Template | null {
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
