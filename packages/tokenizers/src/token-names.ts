import type { AddedToken } from "./added-tokens.js";
import type { TokenName } from "./token-list.js";
import type { Vocabulary } from "./vocabulary.js";

/** The model's vocabulary and the added tokens seen as one; added tokens win. */
export interface TokenNames {
  readonly size: number;
  /** One more than the greatest id. */
  readonly idLimit: number;
  /** With the ids that the model's vocabulary gives them, if it holds them. */
  readonly addedTokens: readonly AddedToken[];
  readonly specialTokens: readonly string[];
  readonly nameOf: TokenName;
  idOf(token: string): number | undefined;
  tokenOf(id: number): string | undefined;
  isSpecial(id: number): boolean;
}

/** Joins a vocabulary with added tokens. */
export function createTokenNames(vocabulary: Vocabulary, added: readonly AddedToken[]): TokenNames {
  let numNew = 0;
  const addedTokens = added.map((token) => {
    const known = vocabulary.idOf(token.content);
    if (known === undefined) numNew++;
    return { ...token, id: known ?? token.id };
  });
  const idOfAdded = new Map(addedTokens.map(({ content, id }) => [content, id]));
  const addedOfId = new Map(addedTokens.map((token) => [token.id, token]));
  const special = addedTokens.filter((token) => token.special);
  const specialIds = new Set(special.map(({ id }) => id));
  const addedLimit = addedTokens.reduce((limit, { id }) => Math.max(limit, id + 1), 0);
  const tokenOf = (id: number) => addedOfId.get(id)?.content ?? vocabulary.tokenOf(id);
  return {
    size: vocabulary.size + numNew,
    get idLimit() {
      return Math.max(addedLimit, vocabulary.idLimit);
    },
    addedTokens,
    specialTokens: special.toSorted((a, b) => a.id - b.id).map(({ content }) => content),
    nameOf: (id) => tokenOf(id) ?? "",
    idOf: (token) => idOfAdded.get(token) ?? vocabulary.idOf(token),
    tokenOf,
    isSpecial: (id) => specialIds.has(id),
  };
}
