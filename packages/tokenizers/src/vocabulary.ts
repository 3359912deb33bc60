import { HeddleError } from "./error.js";

/** Token strings by id and ids by token string; ids may have gaps. */
export interface Vocabulary {
  readonly size: number;
  /** One more than the greatest id. */
  readonly idLimit: number;
  idOf(token: string): number | undefined;
  tokenOf(id: number): string | undefined;
  /** All entries in ascending order of id. */
  entries(): IterableIterator<[token: string, id: number]>;
}

/**
 * Builds a vocabulary from (token, id) pairs.
 *
 * @throws HeddleError "format" if an id is not a whole number of at least 0
 */
export function createVocabulary(pairs: Iterable<readonly [string, number]>): Vocabulary {
  const ids = new Map<string, number>();
  const tokens: (string | undefined)[] = [];
  for (const [token, id] of pairs) {
    if (!Number.isInteger(id) || id < 0 || id > 0x7fffffff) {
      throw new HeddleError(
        "format",
        `createVocabulary: an id must be a whole number from 0 to 2^31 - 1; got id ${id} for token ${JSON.stringify(token)}. Correct the vocabulary.`,
        { token, id },
      );
    }
    ids.set(token, id);
    tokens[id] = token;
  }
  return {
    size: ids.size,
    idLimit: tokens.length,
    idOf: (token) => ids.get(token),
    tokenOf: (id) => tokens[id],
    *entries() {
      for (let id = 0; id < tokens.length; id++) {
        const token = tokens[id];
        if (token !== undefined) yield [token, id];
      }
    },
  };
}
