import type { CurvePoint } from "./training.js";

const width = 320;
const height = 150;
const left = 30;
const bottom = 20;

/** How the vocabulary pays: characters to a token, against the number of tokens in the vocabulary. */
export function Curve({ points }: { points: readonly CurvePoint[] }) {
  const first = points[0];
  const last = points.at(-1);
  if (first === undefined || last === undefined) return null;
  const top = Math.ceil(last.charactersPerToken);
  const x = (size: number) =>
    left + ((size - first.vocabSize) / Math.max(1, last.vocabSize - first.vocabSize)) * (width - left - 6);
  const y = (value: number) => height - bottom - (value / top) * (height - bottom - 8);
  const path = points.map(({ vocabSize, charactersPerToken }) => {
    return `${x(vocabSize).toFixed(1)},${y(charactersPerToken).toFixed(1)}`;
  });
  const label = `Characters to a token: ${first.charactersPerToken.toFixed(2)} with ${first.vocabSize} tokens in the vocabulary, ${last.charactersPerToken.toFixed(2)} with ${last.vocabSize}.`;
  return (
    <figure class="curve">
      <svg viewBox={`0 0 ${width} ${height}`} role="img" aria-label={label}>
        {Array.from({ length: top + 1 }, (_, value) => (
          <g key={value} class="grid">
            <line x1={left} x2={width - 6} y1={y(value)} y2={y(value)} />
            <text x={left - 6} y={y(value) + 3.5} text-anchor="end">
              {value}
            </text>
          </g>
        ))}
        <polyline points={path.join(" ")} />
        <circle cx={x(last.vocabSize)} cy={y(last.charactersPerToken)} r="3" />
        <text x={left} y={height - 4}>
          {first.vocabSize}
        </text>
        <text x={width - 6} y={height - 4} text-anchor="end">
          {last.vocabSize} tokens in the vocabulary
        </text>
      </svg>
      <figcaption>
        Characters to a token: {first.charactersPerToken.toFixed(2)} at first,{" "}
        <strong>{last.charactersPerToken.toFixed(2)}</strong> at the end.
      </figcaption>
    </figure>
  );
}
