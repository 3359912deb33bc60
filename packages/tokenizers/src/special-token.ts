import type { AddedToken } from "./added-tokens.js";
import { HeddleError } from "./error.js";

/** A special token of the plain kind. */
export function plainSpecialToken(content: string, id: number): AddedToken {
  return { id, content, singleWord: false, lstrip: false, rstrip: false, normalized: false, special: true };
}

/** The error for a special token that the file of `caller` should hold. */
export function missingToken(caller: string, token: string, size: number): HeddleError {
  return new HeddleError(
    "format",
    `${caller}: a special token must be in the vocabulary; got ${JSON.stringify(token)}, vocabulary of ${size} tokens. Name the right tokens in the options or check the file.`,
    { token, size },
  );
}
