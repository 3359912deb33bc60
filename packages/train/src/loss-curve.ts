/** One point of a curve: x in steps, y in nats. */
export interface LossPoint {
  readonly step: number;
  readonly loss: number;
}

export interface LossCurveOptions {
  readonly title?: string;
  /** Losses on held-out text. */
  readonly heldOut?: readonly LossPoint[];
}

const size = { width: 760, height: 420, left: 56, right: 16, top: 40, bottom: 44 };

/**
 * Draws losses over steps as an SVG picture: every loss faintly, their running mean, and the held-out losses as dots.
 *
 * Losses that are not finite are left out.
 */
export function lossCurveSvg(
  losses: readonly LossPoint[],
  { title = "Loss", heldOut = [] }: LossCurveOptions = {},
): string {
  const points = losses.filter(({ loss }) => Number.isFinite(loss));
  const dots = heldOut.filter(({ loss }) => Number.isFinite(loss));
  const all = [...points, ...dots];
  const x = scale(extent(all.map(({ step }) => step)), [size.left, size.width - size.right]);
  const y = scale(extent(all.map(({ loss }) => loss)), [size.height - size.bottom, size.top]);
  const path = (line: readonly LossPoint[]) =>
    line
      .map(({ step, loss }, at) => `${at === 0 ? "M" : "L"}${round(x.at(step))} ${round(y.at(loss))}`)
      .join("");
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${size.height}" role="img" aria-label="${escapeXml(title)}">`,
    "<style>text{font:12px system-ui,sans-serif;fill:#444}.title{font-size:15px}.grid{stroke:#ddd}.raw{stroke:#9bb8e0}.mean{stroke:#1f5fbf;stroke-width:1.8}.held{fill:#d1495b}path{fill:none}@media(prefers-color-scheme:dark){text{fill:#ccc}.grid{stroke:#444}.raw{stroke:#456a9e}.mean{stroke:#7fb0ff}}</style>",
    `<text class="title" x="${size.left}" y="22">${escapeXml(title)}</text>`,
    ...ticks(y.domain).map((value) => horizontalRule(value, y.at(value))),
    ...ticks(x.domain).map(
      (value) =>
        `<text x="${round(x.at(value))}" y="${size.height - 24}" text-anchor="middle">${label(value)}</text>`,
    ),
    `<text x="${size.width - size.right}" y="${size.height - 6}" text-anchor="end">steps; loss in nats a token${dots.length > 0 ? "; dots: held-out text" : ""}</text>`,
    `<path class="raw" d="${path(points)}"/>`,
    `<path class="mean" d="${path(runningMean(points))}"/>`,
    ...dots.map(
      ({ step, loss }) =>
        `<circle class="held" r="3.5" cx="${round(x.at(step))}" cy="${round(y.at(loss))}"/>`,
    ),
    "</svg>\n",
  ].join("\n");
}

function horizontalRule(value: number, at: number): string {
  const y = round(at);
  return `<line class="grid" x1="${size.left}" x2="${size.width - size.right}" y1="${y}" y2="${y}"/><text x="${size.left - 8}" y="${round(at + 4)}" text-anchor="end">${label(value)}</text>`;
}

/** Exponential running mean over about 2% of the points, without the pull of its start. */
function runningMean(points: readonly LossPoint[]): LossPoint[] {
  const keep = 1 - 1 / Math.max(1, points.length / 50);
  let sum = 0;
  let weight = 0;
  return points.map(({ step, loss }) => {
    sum = keep * sum + loss;
    weight = keep * weight + 1;
    return { step, loss: sum / weight };
  });
}

interface Scale {
  readonly domain: readonly [number, number];
  at(value: number): number;
}

function scale(domain: readonly [number, number], [from, to]: readonly [number, number]): Scale {
  const [low, high] = domain;
  return { domain, at: (value) => from + ((value - low) / (high - low)) * (to - from) };
}

/** Least and greatest value, with some room where they are the same. */
function extent(values: readonly number[]): [number, number] {
  const low = values.reduce((least, value) => Math.min(least, value), Number.POSITIVE_INFINITY);
  const high = values.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
  if (!Number.isFinite(low)) return [0, 1];
  return low === high ? [low - 0.5, high + 0.5] : [low, high];
}

/** About six round values inside a range: multiples of 1, 2 or 5 times a power of ten. */
function ticks([low, high]: readonly [number, number]): number[] {
  const rough = (high - low) / 6;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10);
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) => (first + i) * step);
}

function label(value: number): string {
  return String(Number(value.toPrecision(6)));
}

function round(value: number): string {
  return value.toFixed(1);
}

function escapeXml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}
