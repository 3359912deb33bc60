import { type Encoding, spanTokens, type TokenSpan } from "@heddle/tokenizers";
import { useMemo, useRef, useState } from "preact/hooks";
import { nextIndex } from "../roving-index.js";
import { visibleToken } from "../token-format.js";
import type { NamedTokenizer } from "./tokenizer-files.js";

/** Grounds that take turns. */
const NUM_GROUNDS = 6;
/** More are not drawn. */
const MOST_SPANS = 5000;

/** A range of the text that is pointed at. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

export type PaneView = "text" | "list";

interface TokenPaneProps {
  readonly named: NamedTokenizer;
  readonly text: string;
  readonly view: PaneView;
  /** What is pointed at in either pane. */
  readonly range: Range | undefined;
  readonly onRange: (range: Range | undefined) => void;
}

/** A text as one tokenizer sees it. */
export function TokenPane({ named, text, view, range, onRange }: TokenPaneProps) {
  const read = useMemo(() => encode(named, text), [named, text]);
  if ("error" in read) return <p class="status is-error">{read.error}</p>;
  const { encoding, spans } = read;
  const characters = [...text].length;
  return (
    <>
      <dl class="counts">
        <Count name="tokens" value={encoding.length.toLocaleString("en")} />
        <Count
          name="characters each"
          value={encoding.length === 0 ? "–" : (characters / encoding.length).toFixed(2)}
        />
        <Count name="in the vocabulary" value={named.tokenizer.vocabSize.toLocaleString("en")} />
      </dl>
      {view === "text" ? (
        <Spans spans={spans} encoding={encoding} range={range} onRange={onRange} />
      ) : (
        <TokenTable spans={spans} encoding={encoding} range={range} />
      )}
      {spans.length > MOST_SPANS && (
        <p class="hint">
          The first {MOST_SPANS.toLocaleString("en")} of {spans.length.toLocaleString("en")} are shown.
        </p>
      )}
    </>
  );
}

type Read =
  | { readonly encoding: Encoding; readonly spans: readonly TokenSpan[] }
  | { readonly error: string };

function encode({ tokenizer }: NamedTokenizer, text: string): Read {
  try {
    const encoding = tokenizer.encode(text);
    return { encoding, spans: spanTokens(text, encoding) };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

function Count({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd class="value">{value}</dd>
    </div>
  );
}

interface SpansProps {
  readonly spans: readonly TokenSpan[];
  readonly encoding: Encoding;
  readonly range: Range | undefined;
  readonly onRange: (range: Range | undefined) => void;
}

function Spans({ spans, encoding, range, onRange }: SpansProps) {
  const box = useRef<HTMLDivElement>(null);
  const [index, setIndex] = useState<number>();
  const shown = spans.slice(0, MOST_SPANS);
  const point = (next: number | undefined): void => {
    setIndex(next);
    onRange(next === undefined ? undefined : shown[next]);
  };
  const pointAt = ({ target }: Event): void => {
    const element = target instanceof HTMLElement ? target.closest<HTMLElement>("[data-index]") : null;
    if (element !== null) point(Number(element.dataset.index));
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const next = nextIndex(event.key, index, shown.length);
    if (next === undefined) return;
    event.preventDefault();
    box.current?.querySelector<HTMLElement>(`[data-index="${next}"]`)?.focus();
  };
  const pointed = index === undefined ? undefined : shown[index];
  return (
    <>
      <div
        ref={box}
        class="bits"
        role="listbox"
        aria-label="Tokens: arrow keys move from one to the next"
        tabIndex={-1}
        onKeyDown={onKeyDown}
        onFocusIn={pointAt}
        onFocusOut={() => point(undefined)}
        onMouseMove={pointAt}
        onMouseLeave={() => point(undefined)}
        onClick={pointAt}
      >
        {shown.map((span, i) => (
          <Bit
            key={i}
            index={i}
            span={span}
            encoding={encoding}
            isCurrent={i === index}
            isFirst={i === (index ?? 0)}
            isUnder={index === undefined && overlaps(span, range)}
          />
        ))}
      </div>
      <p class="hint detail" aria-live="polite">
        {pointed === undefined ? "Point at a token for its id and place." : describeSpan(pointed, encoding)}
      </p>
    </>
  );
}

function overlaps(span: Range, range: Range | undefined): boolean {
  return range !== undefined && span.start < range.end && range.start < span.end;
}

interface BitProps {
  readonly index: number;
  readonly span: TokenSpan;
  readonly encoding: Encoding;
  readonly isCurrent: boolean;
  readonly isFirst: boolean;
  /** It shares text with what is pointed at in the other pane. */
  readonly isUnder: boolean;
}

function Bit({ index, span, encoding, isCurrent, isFirst, isUnder }: BitProps) {
  const { tokens, text } = span;
  const names = ["bit", `ground-${index % NUM_GROUNDS}`];
  if (tokens.length === 0) names.push("is-bare");
  if (text === "") names.push("is-added");
  if (isCurrent) names.push("is-pointed");
  if (isUnder) names.push("is-under");
  const added = tokens.map((i) => encoding.tokens[i] ?? "").join("");
  return (
    <span
      role="option"
      aria-selected={isCurrent}
      aria-label={describeSpan(span, encoding)}
      tabIndex={isFirst ? 0 : -1}
      class={names.join(" ")}
      data-index={index}
    >
      {text === "" ? added : showBreaks(text)}
      {tokens.length > 1 && <sub>{tokens.length}</sub>}
    </span>
  );
}

/** Line breaks are shown and still break the line. */
function showBreaks(text: string): string {
  return text.replaceAll("\n", "⏎\n").replaceAll("\t", "⇥\t");
}

function describeSpan({ start, end, text, tokens }: TokenSpan, encoding: Encoding): string {
  if (tokens.length === 0) return `“${visibleToken(text)}” is in no token`;
  const names = tokens.map((i) => `${visibleToken(encoding.tokens[i] ?? "")} (id ${encoding.ids[i]})`);
  const place = text === "" ? "added" : `characters ${start} to ${end}`;
  return `${names.join(" ")}, ${place}`;
}

function TokenTable({ spans, encoding, range }: Omit<SpansProps, "onRange">) {
  const rows = spans.slice(0, MOST_SPANS).flatMap((span) => span.tokens.map((i) => ({ span, i })));
  return (
    <section class="table-box" aria-label="Tokens in a table">
      <table class="token-table">
        <thead>
          <tr>
            <th scope="col">token</th>
            <th scope="col" class="number">
              id
            </th>
            <th scope="col" class="number">
              characters
            </th>
            <th scope="col" class="number">
              bytes
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.map(({ span, i }) => (
            <tr key={i} class={overlaps(span, range) ? "is-under" : undefined}>
              <th scope="row">
                <code>{visibleToken(encoding.tokens[i] ?? "")}</code>
              </th>
              <td class="number">{encoding.ids[i]}</td>
              <td class="number">{span.text === "" ? "added" : encoding.offsets[i]?.join("–")}</td>
              <td class="number">{span.text === "" ? "" : encoding.byteOffsets[i]?.join("–")}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
