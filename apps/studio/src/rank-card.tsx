import type { ComponentChildren } from "preact";
import { formatPercent, visibleToken } from "./token-format.js";

/** Where a card hangs, in pixels of the box that it hangs in; it stays inside. */
export interface CardPlace {
  readonly left: number;
  readonly top: number;
}

/** A token of a list of the likeliest. */
export interface RankedToken {
  readonly id: number;
  readonly token: string;
  readonly probability: number;
  readonly isChosen?: boolean;
}

interface RankCardProps {
  /** Two elements, at its start and its end. */
  readonly head: ComponentChildren;
  readonly caption: string;
  readonly tokens: readonly RankedToken[];
  readonly place: CardPlace;
}

/** A card that shows tokens with their probabilities as bars. */
export function RankCard({ head, caption, tokens, place }: RankCardProps) {
  return (
    <div class="token-card" style={{ "--left": `${place.left}px`, top: `${place.top}px` }}>
      <p class="token-card-head">{head}</p>
      <table>
        <caption class="visually-hidden">{caption}</caption>
        <tbody>
          {tokens.map(({ id, token, probability, isChosen = false }) => (
            <tr key={id} class={isChosen ? "is-chosen" : undefined}>
              <th scope="row">
                <code>{visibleToken(token)}</code>
                {isChosen && <span class="visually-hidden"> (chosen)</span>}
              </th>
              <td class="bar">
                <span class="bar-fill" style={{ width: `${Math.max(1, probability * 100)}%` }} />
              </td>
              <td class="number">{formatPercent(probability)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
