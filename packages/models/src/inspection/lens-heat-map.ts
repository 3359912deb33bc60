import type { HeatMap } from "@heddle/attention";
import type { LensCell } from "./logit-lens.js";

export interface LensHeatMapOptions {
  /** What the colour tells: the probability of the likeliest token, 0..1, or the entropy in nats. Default "probability". */
  readonly shade?: "probability" | "entropy";
  /** Texts of the tokens that the lens was read at, above the columns. */
  readonly labels?: readonly string[];
  /** Text of a token, written into its cell. Default: its id. */
  readonly tokenText?: (id: number) => string;
}

/**
 * Makes a logit lens a matrix to be looked at: row = layer, the last one, which is what the model says, on top; column = position;
 * in each cell the likeliest next token. `heatMapSvg` draws it.
 *
 * @param cells  of `readLogitLens`
 * @returns plain data
 */
export function lensHeatMap(
  cells: readonly (readonly LensCell[])[],
  { shade = "probability", labels, tokenText = String }: LensHeatMapOptions = {},
): HeatMap {
  const rows = cells.toReversed();
  const flat = rows.flat();
  const isProbability = shade === "probability";
  return {
    title: isProbability
      ? "logit lens: likeliest token, its probability"
      : "logit lens: likeliest token, entropy",
    rows: rows.length,
    columns: rows[0]?.length ?? 0,
    values: Float32Array.from(flat, ({ top, entropy }) =>
      isProbability ? (top[0]?.probability ?? 0) : entropy,
    ),
    cellLabels: flat.map(({ top: [first] }) => (first === undefined ? "" : tokenText(first.id))),
    rowLabels: rows.map((_, row) => lensRowName(rows.length - 1 - row)),
    ...(labels && { columnLabels: labels }),
  };
}

function lensRowName(row: number): string {
  return row === 0 ? "embedding" : `layer ${row - 1}`;
}
