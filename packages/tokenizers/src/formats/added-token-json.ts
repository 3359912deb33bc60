import type { AddedToken } from "../added-tokens.js";
import { badField, refuseUnknownFields, requireObject } from "./component-fields.js";

const FLAGS = ["single_word", "lstrip", "rstrip", "normalized", "special"] as const;
const KNOWN_FIELDS = ["__type", "content", ...FLAGS];
const FIELDS_WITH_ID = ["id", ...KNOWN_FIELDS];

/**
 * Reads an added token of tokenizer.json or of `added_tokens_decoder` in tokenizer_config.json.
 *
 * @param id  where the file gives it outside the object
 */
export function readAddedToken(json: unknown, path: string, id?: number): AddedToken {
  const token = requireObject(json, path);
  refuseUnknownFields(token, path, id === undefined ? FIELDS_WITH_ID : KNOWN_FIELDS);
  const { content } = token;
  const givenId = id ?? token.id;
  if (!Number.isInteger(givenId) || (givenId as number) < 0)
    throw badField(`${path}.id`, "a whole number of at least 0", givenId);
  if (typeof content !== "string") throw badField(`${path}.content`, "a string", content);
  const flag = (key: (typeof FLAGS)[number], fallback: boolean): boolean => {
    const value = token[key] ?? fallback;
    if (typeof value !== "boolean") throw badField(`${path}.${key}`, "true or false", value);
    return value;
  };
  const special = flag("special", false);
  return {
    id: givenId as number,
    content,
    singleWord: flag("single_word", false),
    lstrip: flag("lstrip", false),
    rstrip: flag("rstrip", false),
    normalized: flag("normalized", !special),
    special,
  };
}
