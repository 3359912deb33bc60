import { HeddleError, type Tensor } from "@heddle/tensor";
import type { AttentionOptions } from "./attention.js";
import { attentionWeights } from "./dense-attention.js";

/** A matrix to be looked at: plain data for any plotting library, or for `heatMapSvg`. */
export interface HeatMap {
  readonly title: string;
  readonly rows: number;
  readonly columns: number;
  /** Row-major. */
  readonly values: Float32Array;
  /** Texts beside the rows and above the columns, such as tokens. */
  readonly rowLabels?: readonly string[];
  readonly columnLabels?: readonly string[];
  /** Texts in the cells, row-major; a cell with a text is as wide as three. */
  readonly cellLabels?: readonly string[];
}

/**
 * Computes the attention weights of every head as matrices to be looked at: row = query, column = key, each row sums to 1.
 *
 * Shapes: query [B, H, T, D], key [B, G, S, D]. Memory B H T S.
 * @param options.labels  text of each key; the queries are the last T of them
 * @returns B H maps, head after head; plain data
 * @throws HeddleError "shape" if the mask does not fit
 * @see Vaswani et al. 2017, arXiv:1706.03762, figures 3 to 5 (attention of single heads)
 */
export async function attentionMaps(
  query: Tensor,
  key: Tensor,
  options: Omit<AttentionOptions, "sinks"> & { readonly labels?: readonly string[] } = {},
): Promise<HeatMap[]> {
  const { labels, ...rules } = options;
  using weights = attentionWeights(query, key, rules);
  const queryLen = query.shape[2] ?? 0;
  return await heatMaps(weights, {
    title: "head",
    ...(labels && { columnLabels: labels, rowLabels: labels.slice(labels.length - queryLen) }),
  });
}

/**
 * Turns the last two axes of a tensor into matrices to be looked at: a bias by position, a mask, a table.
 *
 * Shapes: x [.., rows, columns]; a vector is one row.
 * @returns one map for each index of the axes before; plain data. It throws nothing
 * @see `heatMapSvg`, which draws one
 */
export async function heatMaps(
  x: Tensor,
  options: { readonly title?: string } & Pick<HeatMap, "rowLabels" | "columnLabels"> = {},
): Promise<HeatMap[]> {
  const { title = "map", ...labels } = options;
  const [rows = 1, columns = 1] = x.rank === 1 ? [1, x.shape[0]] : x.shape.slice(-2);
  const data = Float32Array.from(await x.data());
  const size = rows * columns;
  const count = data.length / size;
  return Array.from({ length: count }, (_, index) => ({
    title: count === 1 ? title : `${title} ${index}`,
    rows,
    columns,
    values: data.slice(index * size, (index + 1) * size),
    ...labels,
  }));
}

/** How a heat map is drawn. */
export interface HeatMapSvgOptions {
  /** Side of a cell, in pixels. Default: so that the longer side is about 480. */
  readonly cellSize?: number;
  /** Values of the first and last colour. Default: the least and greatest finite value. */
  readonly range?: readonly [number, number];
  /** Most cells on a side; larger maps are averaged down. Default 256. */
  readonly maxCells?: number;
}

/** As a picture of its own, writing follows the reader's light or dark scheme; inside a page it has the page's colour. */
const ownColours = "<style>svg:root{color-scheme:light dark;color:CanvasText}</style>";

/**
 * Draws a heat map as an SVG: dark is little, light is much; cells that are not finite stay blank. In a notebook, show it as HTML.
 * There is no background, and writing has the colour of its surroundings.
 *
 * @returns the text of an `<svg>` element, with the values in its tooltips where there are at most 1024 cells
 * @throws HeddleError "shape" if there are not rows x columns values, "config" if an option is not a positive number
 * @see Smith and van der Walt 2015, viridis (the colours)
 */
export function heatMapSvg(map: HeatMap, options: HeatMapSvgOptions = {}): string {
  checkMap(map, options);
  const { maxCells = 256 } = options;
  const small = averageDown(map, maxCells);
  const [least, greatest] = options.range ?? finiteRange(map.values);
  const layout = layoutOf(map, small, options.cellSize);
  const { left, top, cell, cellWidth, hasLabels } = layout;
  const [width, height] = [left + small.columns * cellWidth + 8, top + small.rows * cell + 8];
  const level = (value: number) => Math.round((63 * (value - least)) / (greatest - least || 1));
  const cells = rowRuns(small, level).map(({ row, column, length, shade, value }) => {
    const place = `x="${left + column * cellWidth}" y="${top + row * cell}" width="${length * cellWidth}" height="${cell}"`;
    const fill = `fill="${colour(shade / 63)}"`;
    if (small.rows * small.columns > 1024) return `<rect ${place} ${fill}/>`;
    const text = map.cellLabels?.[row * map.columns + column];
    const name = text === undefined ? "" : `${escapeXml(text)} `;
    return `<rect ${place} ${fill}><title>[${row}, ${column}] ${name}${value.toPrecision(4)}</title></rect>`;
  });
  const isDark = (value: number) => level(value) < 40;
  const texts = hasLabels ? [...cellTexts(map, layout, isDark), ...labelTexts(map, layout)] : [];
  const title = `<text x="${left}" y="16" font-weight="600">${escapeXml(map.title)}</text>`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escapeXml(map.title)}" font-family="system-ui, sans-serif" font-size="11" fill="currentColor" shape-rendering="crispEdges">`,
    ownColours,
    title,
    ...cells,
    ...texts,
    "</svg>",
  ].join("\n");
}

/** Where the cells of a drawing lie, in pixels. */
interface Layout {
  readonly left: number;
  readonly top: number;
  /** Height of a cell. */
  readonly cell: number;
  readonly cellWidth: number;
  /** Whether there is room for texts beside and in the cells. */
  readonly hasLabels: boolean;
}

function layoutOf(map: HeatMap, small: HeatMap, cellSize: number | undefined): Layout {
  const longer = Math.max(small.rows, small.columns);
  // Cells with texts have a size that can be read, however many they are.
  const fitting = map.cellLabels === undefined ? Math.floor(480 / longer) : 20;
  const cell = cellSize ?? Math.max(2, Math.min(32, fitting));
  const hasLabels = cell >= 10 && small.rows === map.rows && small.columns === map.columns;
  return {
    cell,
    cellWidth: hasLabels && map.cellLabels ? 3 * cell : cell,
    hasLabels,
    left: hasLabels && map.rowLabels ? 96 : 8,
    top: hasLabels && map.columnLabels ? 96 : 24,
  };
}

/** What stands in the cells: light where the cell is dark. */
function cellTexts(
  { cellLabels = [], values, columns }: HeatMap,
  { left, top, cell, cellWidth }: Layout,
  isDark: (value: number) => boolean,
): string[] {
  const most = Math.max(1, Math.floor(cellWidth / 7));
  return cellLabels.map((text, at) => {
    const [row, column] = [Math.floor(at / columns), at % columns];
    const short = text.length > most ? `${text.slice(0, most - 1)}…` : text;
    const place = `x="${left + (column + 0.5) * cellWidth}" y="${top + (row + 0.5) * cell}"`;
    const fill = isDark(values[at] ?? Number.NaN) ? "#fff" : "#000";
    return `<text ${place} fill="${fill}" text-anchor="middle" dominant-baseline="central" pointer-events="none">${escapeXml(short)}</text>`;
  });
}

interface Run {
  readonly row: number;
  readonly column: number;
  readonly length: number;
  readonly shade: number;
  readonly value: number;
}

/** Cells of a row that share a colour, as one: maps of masks stay small. */
function rowRuns({ rows, columns, values }: HeatMap, level: (value: number) => number): Run[] {
  const runs: Run[] = [];
  const isSingle = rows * columns <= 1024; // each cell has its own tooltip
  for (let row = 0; row < rows; row++) {
    let open: { column: number; shade: number; value: number } | undefined;
    for (let column = 0; column <= columns; column++) {
      const value = column < columns ? (values[row * columns + column] ?? Number.NaN) : Number.NaN;
      const shade = Number.isFinite(value) ? Math.min(63, Math.max(0, level(value))) : -1;
      if (open !== undefined && (shade !== open.shade || isSingle)) {
        runs.push({ row, length: column - open.column, ...open });
        open = undefined;
      }
      if (open === undefined && shade >= 0) open = { column, shade, value };
    }
  }
  return runs;
}

/** Means over blocks, so that no side has more than `most` cells. */
function averageDown(map: HeatMap, most: number): HeatMap {
  const block = Math.ceil(Math.max(map.rows, map.columns) / most);
  if (block <= 1) return map;
  const [rows, columns] = [Math.ceil(map.rows / block), Math.ceil(map.columns / block)];
  const values = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      let [sum, count] = [0, 0];
      for (let i = row * block; i < Math.min(map.rows, (row + 1) * block); i++) {
        for (let j = column * block; j < Math.min(map.columns, (column + 1) * block); j++) {
          const value = map.values[i * map.columns + j] ?? Number.NaN;
          if (!Number.isFinite(value)) continue;
          sum += value;
          count++;
        }
      }
      values[row * columns + column] = count === 0 ? Number.NaN : sum / count;
    }
  }
  return { title: map.title, rows, columns, values };
}

function finiteRange(values: Float32Array): readonly [number, number] {
  let [least, greatest] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    least = Math.min(least, value);
    greatest = Math.max(greatest, value);
  }
  return least <= greatest ? [least, greatest] : [0, 1];
}

function labelTexts(
  { rowLabels = [], columnLabels = [] }: HeatMap,
  { left, top, cell, cellWidth }: Layout,
): string[] {
  return [
    ...rowLabels.map(
      (text, row) =>
        `<text x="${left - 6}" y="${top + (row + 0.5) * cell}" text-anchor="end" dominant-baseline="central">${escapeXml(text)}</text>`,
    ),
    ...columnLabels.map((text, column) => {
      const x = left + (column + 0.5) * cellWidth;
      return `<text transform="translate(${x} ${top - 6}) rotate(-60)">${escapeXml(text)}</text>`;
    }),
  ];
}

/** Colours of rising lightness, dark blue to yellow, readable without colour vision. @see Smith and van der Walt, viridis */
const stops = [
  [68, 1, 84],
  [59, 82, 139],
  [33, 145, 140],
  [94, 201, 98],
  [253, 231, 37],
] as const;

function colour(share: number): string {
  const at = share * (stops.length - 1);
  const below = Math.min(stops.length - 2, Math.floor(at));
  const [from, to] = [stops[below] ?? stops[0], stops[below + 1] ?? stops[4]];
  const mix = from.map((channel, i) => Math.round(channel + (at - below) * ((to[i] ?? 0) - channel)));
  return `#${mix.map((channel) => channel.toString(16).padStart(2, "0")).join("")}`;
}

function escapeXml(text: string): string {
  const names: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  // Control characters are no XML.
  return text.replace(/[&<>"]/g, (char) => names[char] ?? char).replace(/\p{Cc}/gu, "\u2423");
}

function checkMap({ rows, columns, values }: HeatMap, { cellSize, maxCells }: HeatMapSvgOptions): void {
  if (values.length !== rows * columns) {
    throw new HeddleError(
      "shape",
      `heatMapSvg: a map must have rows x columns values; got ${rows} x ${columns} and ${values.length} values. Make it with heatMaps.`,
      { rows, columns, values: values.length },
    );
  }
  for (const [name, value] of Object.entries({ cellSize, maxCells })) {
    if (value === undefined || (Number.isFinite(value) && value > 0)) continue;
    throw new HeddleError(
      "config",
      `heatMapSvg: ${name} must be a number above 0; got ${name} ${value}. Leave it out for the default.`,
      { [name]: value },
    );
  }
}
