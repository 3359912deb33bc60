import { useRef, useState } from "preact/hooks";
import type { GeneratedToken } from "./client.js";
import type { CardPlace } from "./rank-card.js";
import { nextIndex } from "./roving-index.js";
import { describeToken, TokenCard } from "./token-card.js";
import { probabilityOf, visibleToken } from "./token-format.js";

/** How tokens are shown: as running text, or one by one with their ids. */
export type TokenView = "text" | "tokens";

interface Pointed {
  readonly index: number;
  readonly place: CardPlace;
}

/** Hangs the card below a token. */
function placeBelow(token: HTMLElement): CardPlace {
  return { left: token.offsetLeft, top: token.offsetTop + token.offsetHeight + 6 };
}

/**
 * Generated tokens. Pointing at one, or moving to it with the arrow keys, shows its alternatives.
 * The whole is one stop of the Tab key.
 */
export function TokenText({ tokens, view, label }: TokenTextProps) {
  const box = useRef<HTMLDivElement>(null);
  const [pointed, setPointed] = useState<Pointed>();
  const leave = (): void => setPointed(undefined);
  const pointAt = (target: EventTarget | null): boolean => {
    const element = target instanceof HTMLElement ? target.closest<HTMLElement>("[data-index]") : null;
    if (element === null || box.current?.contains(element) !== true) return false;
    const index = Number(element.dataset.index);
    if (index !== pointed?.index) setPointed({ index, place: placeBelow(element) });
    return true;
  };
  const pointAtTarget = ({ target }: Event): void => void pointAt(target);
  const pointAtFocus = (): void => {
    if (!pointAt(document.activeElement)) leave();
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key === "Escape") leave();
    const next = nextIndex(event.key, pointed?.index, tokens.length);
    if (next === undefined) return;
    event.preventDefault();
    box.current?.querySelector<HTMLElement>(`[data-index="${next}"]`)?.focus();
  };
  const token = pointed === undefined ? undefined : tokens[pointed.index];
  return (
    <div class="token-box">
      <div
        ref={box}
        class={`tokens as-${view}`}
        role="listbox"
        aria-label={`${label}: arrow keys show the alternatives of a token`}
        tabIndex={-1}
        onKeyDown={onKeyDown}
        onFocusIn={pointAtTarget}
        onFocusOut={leave}
        onClick={pointAtTarget}
        onMouseMove={pointAtTarget} // and not onMouseOver: text that moves below a resting pointer is not pointed at
        onMouseLeave={pointAtFocus}
      >
        {tokens.map((each, index) => (
          <Token key={index} index={index} token={each} view={view} current={pointed?.index} />
        ))}
      </div>
      {view === "text" && tokens.length > 0 && (
        <p class="hint">
          Underlined: less expected. Point at a word, or use the arrow keys, for its alternatives.
        </p>
      )}
      {token !== undefined && pointed !== undefined && <TokenCard token={token} place={pointed.place} />}
      <p class="visually-hidden" aria-live="polite">
        {token !== undefined && describeToken(token)}
      </p>
    </div>
  );
}

interface TokenTextProps {
  readonly tokens: readonly GeneratedToken[];
  readonly view: TokenView;
  readonly label: string;
}

interface TokenProps {
  readonly index: number;
  readonly token: GeneratedToken;
  readonly view: TokenView;
  /** The token that is pointed at, if any. */
  readonly current: number | undefined;
}

function Token({ index, token, view, current }: TokenProps) {
  const surprise = (1 - probabilityOf(token)).toFixed(2);
  return (
    <span
      role="option"
      aria-selected={index === current}
      tabIndex={index === (current ?? 0) ? 0 : -1}
      class={index === current ? "token is-pointed" : "token"}
      data-index={index}
      style={{ "--surprise": surprise }}
    >
      {view === "text" ? (token.isEnd ? " ∎" : token.token) : visibleToken(token.token)}
      {view === "tokens" && <small>{token.id}</small>}
    </span>
  );
}
