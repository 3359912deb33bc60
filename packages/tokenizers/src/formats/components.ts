import type { Decoder } from "../decoders/decoder.js";
import { HeddleError } from "../error.js";
import type { Normalizer } from "../normalizers/normalizer.js";
import type { PostProcessor } from "../post-processors/post-processor.js";
import type { TemplatePiece, TemplateToken } from "../post-processors/template.js";
import type { PreTokenizer } from "../pre-tokenizers/kinds.js";
import type { TextPattern } from "../text-pattern.js";
import {
  badField,
  type ComponentFields,
  choice,
  count,
  type Field,
  flag,
  optionalFlag,
  readComponent,
  refuseUnknownFields,
  requireArray,
  requireObject,
  text,
  writeComponent,
} from "./component-fields.js";

const behavior = (fallback?: "Isolated"): Field =>
  choice(["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"], fallback);

const prependScheme: Field = choice(["always", "first", "never"], "always");

const pattern: Field = {
  read(value, path): TextPattern {
    const object = requireObject(value, path);
    refuseUnknownFields(object, path, ["String", "Regex"]);
    if (typeof object.String === "string") return { type: "String", text: object.String };
    if (typeof object.Regex === "string") return { type: "Regex", source: object.Regex };
    throw badField(path, 'an object with "String" or "Regex"', value);
  },
  write(value) {
    const given = value as TextPattern;
    if (given.type === "String") return { String: given.text };
    if (given.dialect === "rust") {
      throw new HeddleError(
        "unsupported",
        `toTokenizerJson: tokenizer.json holds Oniguruma patterns only; got a pattern in dialect "rust" ${JSON.stringify(given.source)}. Rewrite it for Oniguruma.`,
        { source: given.source },
      );
    }
    return { Regex: given.source };
  },
};

/** A list of components of the same kind; `kind` is a thunk because the table refers to itself. */
function list(kind: () => ComponentFields): Field {
  return {
    read: (value, path) =>
      requireArray(value, path).map((item, i) => readComponent(kind(), item, `${path}[${i}]`)),
    write: (value) => (value as readonly { type: string }[]).map((item) => writeComponent(kind(), item)),
  };
}

const NORMALIZERS: ComponentFields = {
  Sequence: { normalizers: list(() => NORMALIZERS) },
  NFC: {},
  NFD: {},
  NFKC: {},
  NFKD: {},
  Lowercase: {},
  StripAccents: {},
  Nmt: {},
  ByteLevel: {},
  Strip: { stripLeft: flag(), stripRight: flag() },
  Replace: { pattern, content: text() },
  Prepend: { prepend: text() },
  Precompiled: { precompiledCharsmap: text() },
  BertNormalizer: {
    cleanText: flag(true),
    handleChineseChars: flag(true),
    stripAccents: optionalFlag(null),
    lowercase: flag(true),
  },
};

const byteLevel = { addPrefixSpace: flag(), trimOffsets: flag(), useRegex: flag(true) };

const PRE_TOKENIZERS: ComponentFields = {
  Sequence: { pretokenizers: list(() => PRE_TOKENIZERS) },
  Whitespace: {},
  WhitespaceSplit: {},
  BertPreTokenizer: {},
  UnicodeScripts: {},
  Punctuation: { behavior: behavior("Isolated") },
  Digits: { individualDigits: flag() },
  CharDelimiterSplit: { delimiter: text() },
  FixedLength: { length: count() },
  Split: { pattern, behavior: behavior(), invert: flag(false) },
  ByteLevel: byteLevel,
  Metaspace: { replacement: text(), prependScheme, split: flag(true) },
};

const DECODERS: ComponentFields = {
  Sequence: { decoders: list(() => DECODERS) },
  ByteLevel: byteLevel,
  ByteFallback: {},
  Fuse: {},
  Metaspace: { replacement: text(), prependScheme, split: flag(true) },
  WordPiece: { prefix: text(), cleanup: flag() },
  BPEDecoder: { suffix: text() },
  CTC: { padToken: text(), wordDelimiterToken: text(), cleanup: flag() },
  Strip: { content: text(), start: count(), stop: count() },
  Replace: { pattern, content: text() },
};

const isId = (value: unknown): value is number => Number.isInteger(value) && (value as number) >= 0;
const isText = (value: unknown): value is string => typeof value === "string";

const template: Field = {
  read: (value, path) => requireArray(value, path).map((item, i) => readTemplatePiece(item, `${path}[${i}]`)),
  write: (value) =>
    (value as readonly TemplatePiece[]).map(({ type, id, typeId }) => ({ [type]: { id, type_id: typeId } })),
};

function readTemplatePiece(json: unknown, path: string): TemplatePiece {
  const object = requireObject(json, path);
  const type = "Sequence" in object ? "Sequence" : "SpecialToken";
  refuseUnknownFields(object, path, [type]);
  const piece = requireObject(object[type], `${path}.${type}`);
  refuseUnknownFields(piece, `${path}.${type}`, ["id", "type_id"]);
  const { id, type_id: typeId } = piece;
  if (typeof id !== "string" || !isId(typeId)) throw badField(`${path}.${type}`, "{id, type_id}", piece);
  if (type === "SpecialToken") return { type, id, typeId };
  if (id !== "A" && id !== "B") throw badField(`${path}.Sequence.id`, "A or B", id);
  return { type, id, typeId };
}

const templateTokens: Field = {
  read(value, path): Readonly<Record<string, TemplateToken>> {
    const tokens: Record<string, TemplateToken> = {};
    for (const [name, json] of Object.entries(requireObject(value, path))) {
      const token = requireObject(json, `${path}.${name}`);
      refuseUnknownFields(token, `${path}.${name}`, ["id", "ids", "tokens"]);
      const ids = requireArray(token.ids, `${path}.${name}.ids`);
      const names = requireArray(token.tokens, `${path}.${name}.tokens`);
      if (!ids.every(isId)) throw badField(`${path}.${name}.ids`, "ids of at least 0", ids);
      if (!names.every(isText)) throw badField(`${path}.${name}.tokens`, "strings", names);
      if (ids.length !== names.length)
        throw badField(`${path}.${name}.tokens`, `${ids.length} strings`, names);
      tokens[name] = { ids, tokens: names };
    }
    return tokens;
  },
  write: (value) =>
    Object.fromEntries(
      Object.entries(value as Readonly<Record<string, TemplateToken>>).map(([id, token]) => [
        id,
        { id, ids: token.ids, tokens: token.tokens },
      ]),
    ),
};

const namedId: Field = {
  read(value, path) {
    const [name, id, ...rest] = requireArray(value, path);
    if (!isText(name) || !isId(id) || rest.length > 0) throw badField(path, "[token, id]", value);
    return [name, id];
  },
  write: (value) => value,
};

const POST_PROCESSORS: ComponentFields = {
  Sequence: { processors: list(() => POST_PROCESSORS) },
  ByteLevel: byteLevel,
  TemplateProcessing: { single: template, pair: template, specialTokens: templateTokens },
  BertProcessing: { sep: namedId, cls: namedId },
  RobertaProcessing: { sep: namedId, cls: namedId, trimOffsets: flag(true), addPrefixSpace: flag(true) },
};

/** Older Metaspace objects have `add_prefix_space` in place of `prepend_scheme`. */
function modernize(json: unknown): unknown {
  if (Array.isArray(json)) return json.map(modernize);
  if (typeof json !== "object" || json === null) return json;
  const object = Object.fromEntries(Object.entries(json).map(([key, value]) => [key, modernize(value)]));
  if (
    object.type === "Metaspace" &&
    object.prepend_scheme === undefined &&
    object.add_prefix_space === false
  ) {
    return { ...object, prepend_scheme: "never" };
  }
  return object;
}

/** Reads one component of tokenizer.json; null stays null. The tables above hold the very fields of the unions. */
function reader<Component>(fields: ComponentFields): (json: unknown, path: string) => Component | null {
  return (json, path) =>
    json === null || json === undefined ? null : (readComponent(fields, modernize(json), path) as Component);
}

function writer<Component extends { readonly type: string }>(
  fields: ComponentFields,
): (component: Component | null) => unknown {
  return (component) => (component === null ? null : writeComponent(fields, component));
}

export const readNormalizer = reader<Normalizer>(NORMALIZERS);
export const readPreTokenizer = reader<PreTokenizer>(PRE_TOKENIZERS);
export const readPostProcessor = reader<PostProcessor>(POST_PROCESSORS);
export const readDecoder = reader<Decoder>(DECODERS);
export const writeNormalizer = writer<Normalizer>(NORMALIZERS);
export const writePreTokenizer = writer<PreTokenizer>(PRE_TOKENIZERS);
export const writePostProcessor = writer<PostProcessor>(POST_PROCESSORS);
export const writeDecoder = writer<Decoder>(DECODERS);
