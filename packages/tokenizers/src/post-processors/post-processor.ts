import { HeddleError } from "../error.js";
import type { TokenList } from "../token-list.js";
import { specialToken } from "../token-list.js";
import { trimByteLevelOffsets } from "./byte-level.js";

/** Adds special tokens and joins pairs; the names and fields are those of tokenizer.json in camel case. */
export type PostProcessor =
  | { readonly type: "Sequence"; readonly processors: readonly PostProcessor[] }
  | {
      readonly type: "ByteLevel";
      readonly addPrefixSpace: boolean;
      readonly trimOffsets: boolean;
      readonly useRegex: boolean;
    }
  | {
      readonly type: "TemplateProcessing";
      readonly single: readonly TemplatePiece[];
      readonly pair: readonly TemplatePiece[];
      readonly specialTokens: Readonly<Record<string, TemplateToken>>;
    }
  | {
      readonly type: "BertProcessing";
      readonly sep: readonly [string, number];
      readonly cls: readonly [string, number];
    }
  | {
      readonly type: "RobertaProcessing";
      readonly sep: readonly [string, number];
      readonly cls: readonly [string, number];
      readonly trimOffsets: boolean;
      readonly addPrefixSpace: boolean;
    };

/** A place in a template: the first ("A") or second ("B") text, or a special token. */
export type TemplatePiece =
  | { readonly type: "Sequence"; readonly id: "A" | "B"; readonly typeId: number }
  | { readonly type: "SpecialToken"; readonly id: string; readonly typeId: number };

/** The ids that a special token of a template stands for. */
export interface TemplateToken {
  readonly ids: readonly number[];
  readonly tokens: readonly string[];
}

/**
 * Runs a post-processor over the token lists of one or two texts.
 *
 * @param addSpecialTokens  false leaves special tokens out, but still trims offsets and joins pairs
 * @returns the lists in the order in which they are joined
 */
export function postProcess(
  processor: PostProcessor | null,
  lists: readonly TokenList[],
  addSpecialTokens: boolean,
): readonly TokenList[] {
  if (processor === null) return lists;
  switch (processor.type) {
    case "Sequence":
      return processor.processors.reduce((now, step) => postProcess(step, now, addSpecialTokens), lists);
    case "ByteLevel":
      return processor.trimOffsets
        ? lists.map((list) => trimByteLevelOffsets(list, processor.addPrefixSpace))
        : lists;
    case "TemplateProcessing":
      return applyTemplate(processor, lists, addSpecialTokens);
    case "BertProcessing":
      return addSpecialTokens ? wrapBert(processor, lists) : lists;
    case "RobertaProcessing": {
      const trimmed = processor.trimOffsets
        ? lists.map((list) => trimByteLevelOffsets(list, processor.addPrefixSpace))
        : lists;
      const flat = trimmed.map((list) => list.withTypeId(0));
      return addSpecialTokens ? wrapRoberta(processor, flat) : flat;
    }
    default:
      return processor satisfies never;
  }
}

/** How many special tokens a post-processor adds to one text (or to a pair). */
export function countAddedTokens(processor: PostProcessor | null, isPair: boolean): number {
  if (processor === null) return 0;
  switch (processor.type) {
    case "Sequence":
      return processor.processors.reduce((sum, step) => sum + countAddedTokens(step, isPair), 0);
    case "ByteLevel":
      return 0;
    case "TemplateProcessing":
      return (isPair ? processor.pair : processor.single).reduce(
        (sum, piece) =>
          sum + (piece.type === "SpecialToken" ? templateToken(processor, piece.id).ids.length : 0),
        0,
      );
    case "BertProcessing":
      return isPair ? 3 : 2;
    case "RobertaProcessing":
      return isPair ? 4 : 2;
    default:
      return processor satisfies never;
  }
}

type Template = Extract<PostProcessor, { type: "TemplateProcessing" }>;

function templateToken(template: Template, id: string): TemplateToken {
  const token = template.specialTokens[id];
  if (token === undefined) {
    throw new HeddleError(
      "format",
      `templateProcessing: every special token of a template must be defined; got ${JSON.stringify(id)}. Add it to special_tokens.`,
      { id },
    );
  }
  return token;
}

function applyTemplate(
  template: Template,
  lists: readonly TokenList[],
  addSpecialTokens: boolean,
): readonly TokenList[] {
  const pieces = lists.length > 1 ? template.pair : template.single;
  return pieces.flatMap((piece) => {
    if (piece.type === "Sequence") {
      const list = lists[piece.id === "A" ? 0 : 1];
      return list === undefined ? [] : [list.withTypeId(piece.typeId)];
    }
    if (!addSpecialTokens) return [];
    const { ids } = templateToken(template, piece.id);
    return ids.map((id) => specialToken(id, piece.typeId));
  });
}

type Ends = { readonly sep: readonly [string, number]; readonly cls: readonly [string, number] };

/** [CLS] A [SEP], or [CLS] A [SEP] B [SEP] with type 1 from B on. */
function wrapBert({ sep, cls }: Ends, lists: readonly TokenList[]): readonly TokenList[] {
  return lists.flatMap((list, i) => {
    const body = [list.withTypeId(i), specialToken(sep[1], i)];
    return i === 0 ? [specialToken(cls[1], 0), ...body] : body;
  });
}

/** <s> A </s>, or <s> A </s> </s> B </s>, all of type 0. */
function wrapRoberta({ sep, cls }: Ends, lists: readonly TokenList[]): readonly TokenList[] {
  return lists.flatMap((list, i) => [
    specialToken(i === 0 ? cls[1] : sep[1], 0),
    list,
    specialToken(sep[1], 0),
  ]);
}
