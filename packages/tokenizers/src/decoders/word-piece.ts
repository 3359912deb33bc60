/** How WordPiece tokens are joined. */
export interface WordPieceDecoder {
  readonly type: "WordPiece";
  readonly prefix: string;
  readonly cleanup: boolean;
}

/** Text of a token: a space before each but the first and those with the prefix, which is dropped. */
export function wordPieceText({ prefix, cleanup }: WordPieceDecoder, token: string, index: number): string {
  const inner = token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`;
  const joined = index === 0 ? token : inner;
  return cleanup ? cleanUp(joined) : joined;
}

/** Undoes the spaces that tokenization put before punctuation and English contractions. */
export function cleanUp(text: string): string {
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
