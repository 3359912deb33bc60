import { useRef, useState } from "preact/hooks";
import type { Lens, LensCell } from "./client.js";
import { type CardPlace, RankCard } from "./rank-card.js";
import { nextIndex } from "./roving-index.js";
import { formatPercent, visibleToken } from "./token-format.js";

/** What the colour of a cell tells. */
export type LensShade = "probability" | "entropy";

interface LensTableProps {
  readonly lens: Lens;
  readonly shade: LensShade;
  readonly vocabSize: number;
}

interface Pointed {
  readonly row: number;
  readonly column: number;
  readonly place: CardPlace;
}

/**
 * A lens as a table, the last layer on top. Pointing at a cell, or moving to it with the arrow keys, shows its likeliest tokens.
 * The whole is one stop of the Tab key.
 */
export function LensTable({ lens, shade, vocabSize }: LensTableProps) {
  const box = useRef<HTMLDivElement>(null);
  const [pointed, setPointed] = useState<Pointed>();
  const rows = lens.layers.map((cells, layer) => ({ layer, cells })).reverse();
  const leave = (): void => setPointed(undefined);
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key === "Escape") leave();
    const [row, column] = [pointed?.row ?? 0, pointed?.column ?? 0];
    const next = isVertical(event.key)
      ? { row: nextIndex(event.key, row, rows.length), column }
      : { row, column: nextIndex(event.key, column, lens.tokens.length) };
    if (next.row === undefined || next.column === undefined) return;
    event.preventDefault();
    box.current?.querySelector<HTMLElement>(`[data-place="${next.row},${next.column}"]`)?.focus();
  };
  const onPoint = (row: number, column: number, target: HTMLElement): void => {
    if (box.current === null || (row === pointed?.row && column === pointed.column)) return;
    setPointed({ row, column, place: placeBelow(target, box.current) });
  };
  const cell = pointed && rows[pointed.row]?.cells[pointed.column];
  const name = layerName(rows[pointed?.row ?? 0]?.layer ?? 0);
  return (
    <div class="token-box" ref={box}>
      <div class="lens-scroll" onScroll={leave}>
        <table class="lens-table">
          <caption class="visually-hidden">Likeliest next token by layer and position</caption>
          <tbody>
            {rows.map(({ layer, cells }, row) => (
              <tr key={layer}>
                <th scope="row">{layerName(layer)}</th>
                {cells.map((each, column) => (
                  <Cell
                    key={column}
                    cell={each}
                    at={{ row, column }}
                    pointed={pointed}
                    weight={
                      shade === "probability" ? probabilityOf(each) : each.entropy / Math.log(vocabSize)
                    }
                    onPoint={onPoint}
                    onLeave={leave}
                    onKeyDown={onKeyDown}
                  />
                ))}
              </tr>
            ))}
          </tbody>
          <tfoot>
            <tr>
              <th scope="row">text</th>
              {lens.tokens.map((token, column) => (
                <th key={column} scope="col">
                  {visibleToken(token)}
                </th>
              ))}
            </tr>
          </tfoot>
        </table>
      </div>
      {cell !== undefined && pointed !== undefined && (
        <LensCard cell={cell} name={name} place={pointed.place} />
      )}
      <p class="visually-hidden" aria-live="polite">
        {cell !== undefined && `${name}: ${describeCell(cell)}`}
      </p>
    </div>
  );
}

/** Hangs the card below a cell; the grid in the box may be scrolled. */
function placeBelow(element: HTMLElement, box: HTMLElement): CardPlace {
  const [cell, around] = [element.getBoundingClientRect(), box.getBoundingClientRect()];
  return { left: cell.left - around.left, top: cell.bottom - around.top + 6 };
}

function isVertical(key: string): boolean {
  return key === "ArrowUp" || key === "ArrowDown";
}

function Cell({ cell, at: { row, column }, pointed, weight, ...events }: CellProps) {
  const isPointed = row === pointed?.row && column === pointed.column;
  const isStop = pointed === undefined ? row === 0 && column === 0 : isPointed;
  const point = ({ currentTarget }: { readonly currentTarget: HTMLElement }): void =>
    events.onPoint(row, column, currentTarget);
  return (
    <td>
      <button
        type="button"
        tabIndex={isStop ? 0 : -1}
        class={isPointed ? "is-pointed" : undefined}
        data-place={`${row},${column}`}
        style={{ "--weight": weight.toFixed(2) }}
        onFocus={point}
        onBlur={events.onLeave}
        onClick={point}
        onMouseMove={point} // and not onMouseOver: cells that move below a resting pointer are not pointed at
        onMouseLeave={events.onLeave}
        onKeyDown={events.onKeyDown}
      >
        {visibleToken(cell.top[0]?.token ?? "")}
      </button>
    </td>
  );
}

interface CellProps {
  readonly cell: LensCell;
  readonly at: { readonly row: number; readonly column: number };
  readonly pointed: { readonly row: number; readonly column: number } | undefined;
  /** How much colour, 0..1. */
  readonly weight: number;
  onPoint(row: number, column: number, target: HTMLElement): void;
  onLeave(): void;
  onKeyDown(event: KeyboardEvent): void;
}

/** Shows the likeliest tokens of a cell and how sure the model is there. */
function LensCard({ cell, name, place }: { cell: LensCell; name: string; place: CardPlace }) {
  const head = (
    <>
      <span>{name}</span>
      <span>entropy {formatEntropy(cell.entropy)}</span>
    </>
  );
  return <RankCard head={head} caption="Likeliest next tokens here" tokens={cell.top} place={place} />;
}

function probabilityOf({ top }: LensCell): number {
  return top[0]?.probability ?? 0;
}

function layerName(layer: number): string {
  return layer === 0 ? "embedding" : `layer ${layer - 1}`;
}

/** Entropy in nats, as the server counts it. */
function formatEntropy(nats: number): string {
  return `${nats.toFixed(2)} nats`;
}

/** The same in words, for those who hear the page. */
function describeCell({ top, entropy }: LensCell): string {
  const likeliest = top
    .slice(0, 3)
    .map(({ token, probability }) => `${visibleToken(token)} ${formatPercent(probability)}`);
  return `${likeliest.join(", ")}; entropy ${formatEntropy(entropy)}.`;
}
