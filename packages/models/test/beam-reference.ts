/** What beam search is asked for, as `BeamSearchOptions` has it. */
export interface BeamRules {
  readonly numBeams: number;
  readonly maxTokens: number;
  readonly eosTokenId: number;
  readonly lengthPenalty: number;
  readonly earlyStopping: boolean | "never";
}

interface Found {
  readonly ids: readonly number[];
  readonly logprob: number;
}

/**
 * Beam search over whole texts, without a cache: the twin of `beamSearch`.
 *
 * @param logprobsOf  log-probabilities of the token after the generated ids
 * @returns the sequences that ended, best first, with their scores
 */
export async function beamReference(
  logprobsOf: (ids: readonly number[]) => Promise<readonly number[]>,
  { numBeams, maxTokens, eosTokenId, lengthPenalty, earlyStopping }: BeamRules,
): Promise<{ ids: readonly number[]; score: number }[]> {
  const scoreOf = ({ ids, logprob }: Found) => logprob / ids.length ** lengthPenalty;
  let open: Found[] = [{ ids: [], logprob: 0 }];
  let ended: Found[] = [];
  for (let length = 1; length <= maxTokens && open.length > 0; length++) {
    const ways: Found[] = [];
    for (const { ids, logprob } of open)
      for (const [id, own] of (await logprobsOf(ids)).entries())
        ways.push({ ids: [...ids, id], logprob: logprob + own });
    ways.sort((a, b) => b.logprob - a.logprob);
    const isEnd = ({ ids }: Found) => ids.at(-1) === eosTokenId;
    const isLast = length === maxTokens;
    const isFull = earlyStopping === true && ended.length >= numBeams;
    if (!isFull) ended.push(...ways.slice(0, numBeams).filter((way) => isLast || isEnd(way)));
    ended = ended.sort((a, b) => scoreOf(b) - scoreOf(a)).slice(0, numBeams);
    open = ways.filter((way) => !isEnd(way)).slice(0, numBeams);
    if (ended.length < numBeams) continue;
    const [hope] = open;
    const [worst] = ended.slice(-1);
    if (earlyStopping === true || hope === undefined || worst === undefined) break;
    const at = earlyStopping === "never" && lengthPenalty > 0 ? maxTokens : length;
    if (hope.logprob / at ** lengthPenalty <= scoreOf(worst)) break;
  }
  return ended.map((found) => ({ ids: found.ids, score: scoreOf(found) }));
}
