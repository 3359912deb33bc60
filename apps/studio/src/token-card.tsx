import type { GeneratedToken } from "./client.js";
import { formatPercent, probabilityOf, rankedAlternatives, visibleToken } from "./token-format.js";

/** Where a card hangs, in pixels of the box that holds the tokens. */
export interface CardPlace {
  readonly left: number;
  readonly top: number;
}

/** Shows a token's id, its probability and what the model might have said instead. */
export function TokenCard({ token, place }: { token: GeneratedToken; place: CardPlace }) {
  return (
    <div class="token-card" style={{ left: `${place.left}px`, top: `${place.top}px` }}>
      <p class="token-card-head">
        <code>{visibleToken(token.token)}</code>
        <span>id {token.id}</span>
      </p>
      <table>
        <caption class="visually-hidden">Likeliest tokens here</caption>
        <tbody>
          {rankedAlternatives(token).map((each) => (
            <tr key={each.id} class={each.isChosen ? "is-chosen" : undefined}>
              <th scope="row">
                <code>{visibleToken(each.token)}</code>
                {each.isChosen && <span class="visually-hidden"> (chosen)</span>}
              </th>
              <td class="bar">
                <span class="bar-fill" style={{ width: `${Math.max(1, probabilityOf(each) * 100)}%` }} />
              </td>
              <td class="number">{formatPercent(probabilityOf(each))}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
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
