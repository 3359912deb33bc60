import type { GeneratedToken } from "./client.js";
import { type CardPlace, RankCard } from "./rank-card.js";
import { formatPercent, probabilityOf, rankedAlternatives, visibleToken } from "./token-format.js";

/** Shows a token's id, its probability and what the model might have said instead. */
export function TokenCard({ token, place }: { token: GeneratedToken; place: CardPlace }) {
  const head = (
    <>
      <code>{visibleToken(token.token)}</code>
      <span>id {token.id}</span>
    </>
  );
  const tokens = rankedAlternatives(token).map((each) => ({ ...each, probability: probabilityOf(each) }));
  return <RankCard head={head} caption="Likeliest tokens here" tokens={tokens} place={place} />;
}

/** The same in words, for those who hear the page. */
export function describeToken(token: GeneratedToken): string {
  const others = rankedAlternatives(token)
    .filter(({ isChosen }) => !isChosen)
    .slice(0, 3)
    .map((other) => `${visibleToken(other.token)} ${formatPercent(probabilityOf(other))}`);
  const instead = others.length === 0 ? "" : ` Others: ${others.join(", ")}.`;
  return `${visibleToken(token.token)}, id ${token.id}, ${formatPercent(probabilityOf(token))}.${instead}`;
}
