/**
 * The encoder of llama2.c (run.c `encode`), line by line: the slow readable twin of SentencePiece BPE.
 * Every step joins the neighbouring pair whose joined text has the best score; ties go to the left.
 */
export function llama2cEncode(
  text: string,
  vocab: readonly (readonly [piece: string, score: number])[],
): number[] {
  const ids = new Map(vocab.map(([piece], id) => [piece, id]));
  const nameOf = (id: number) => (vocab[id] as readonly [string, number])[0];
  const tokens: number[] = [];
  for (const char of text === "" ? "" : ` ${text}`) {
    const id = ids.get(char === " " ? "\u2581" : char);
    if (id !== undefined) tokens.push(id);
    else for (const byte of new TextEncoder().encode(char)) tokens.push(byte + 3);
  }
  for (;;) {
    let bestScore = Number.NEGATIVE_INFINITY;
    let best = -1;
    let bestId = -1;
    for (let i = 0; i + 1 < tokens.length; i++) {
      const id = ids.get(nameOf(tokens[i] as number) + nameOf(tokens[i + 1] as number));
      const score = id === undefined ? Number.NEGATIVE_INFINITY : (vocab[id] as readonly [string, number])[1];
      if (id !== undefined && score > bestScore) [bestScore, best, bestId] = [score, i, id];
    }
    if (best < 0) return tokens;
    tokens.splice(best, 2, bestId);
  }
}
