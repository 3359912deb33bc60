import { HeddleError } from "../error.js";
import { specialToken, withTypeId } from "../token-list.js";
import type { CompiledPostProcessor } from "./compiled.js";

/** A place in a template: the first ("A") or second ("B") text, or a special token. */
export type TemplatePiece =
  | { readonly type: "Sequence"; readonly id: "A" | "B"; readonly typeId: number }
  | { readonly type: "SpecialToken"; readonly id: string; readonly typeId: number };

/** The ids that a special token of a template stands for. */
export interface TemplateToken {
  readonly ids: readonly number[];
  readonly tokens: readonly string[];
}

/** Texts and special tokens in the order of a template. */
export interface Template {
  readonly type: "TemplateProcessing";
  readonly single: readonly TemplatePiece[];
  readonly pair: readonly TemplatePiece[];
  readonly specialTokens: Readonly<Record<string, TemplateToken>>;
}

/** Prepares a template. @throws HeddleError "format" when it runs, if a special token of it is not defined */
export function compileTemplate(template: Template): CompiledPostProcessor {
  return {
    process(lists, addSpecialTokens) {
      const pieces = lists.length > 1 ? template.pair : template.single;
      return pieces.flatMap((piece) => {
        if (piece.type === "Sequence") {
          const list = lists[piece.id === "A" ? 0 : 1];
          return list === undefined ? [] : [withTypeId(list, piece.typeId)];
        }
        if (!addSpecialTokens) return [];
        return templateToken(template, piece.id).ids.map((id) => specialToken(id, piece.typeId));
      });
    },
    countAdded: (isPair) =>
      (isPair ? template.pair : template.single).reduce(
        (sum, piece) =>
          sum + (piece.type === "SpecialToken" ? templateToken(template, piece.id).ids.length : 0),
        0,
      ),
  };
}

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
