import { type TokenList, withOffsets } from "../token-list.js";

/** A space in the byte alphabet. */
const BYTE_SPACE = "\u0120";

/**
 * Takes leading and trailing spaces out of the offsets of byte-level tokens (the tokens keep them).
 *
 * @param addPrefixSpace  the text may have been given a space that it did not have: a single leading space of the
 *   first token stays
 */
export function trimByteLevelOffsets(list: TokenList, addPrefixSpace: boolean): TokenList {
  const starts = list.starts.slice();
  const ends = list.ends.slice();
  for (let i = 0; i < list.length; i++) {
    const token = list.tokenText(i);
    let leading = countSpaces(token, 1);
    const trailing = countSpaces(token, -1);
    const isFirst = i === 0 || starts[i] === 0;
    if (isFirst && addPrefixSpace && leading === 1) leading = 0;
    const end = ends[i] as number;
    const start = Math.min((starts[i] as number) + leading, end);
    starts[i] = start;
    if (trailing > 0 && end >= trailing) ends[i] = Math.max(end - trailing, start);
  }
  return withOffsets(list, starts, ends);
}

function countSpaces(token: string, step: 1 | -1): number {
  let at = step === 1 ? 0 : token.length - 1;
  let count = 0;
  while (
    at >= 0 &&
    at < token.length &&
    (token[at] === BYTE_SPACE || /\p{White_Space}/u.test(token[at] as string))
  ) {
    count++;
    at += step;
  }
  return count;
}
