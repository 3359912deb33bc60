const width = 100;
const height = 28;

/** A line of the latest values, newest at the right; decoration beside a figure that says the newest. */
export function Sparkline({ values, capacity }: { values: readonly number[]; capacity: number }) {
  const padded = [...Array<number>(Math.max(0, capacity - values.length)).fill(0), ...values];
  const most = Math.max(1, ...padded);
  const x = (i: number): number => (i * width) / (capacity - 1);
  const y = (value: number): number => height - 1 - (value / most) * (height - 3);
  const points = padded.map((value, i) => `${x(i).toFixed(1)},${y(value).toFixed(1)}`);
  return (
    <svg class="sparkline" viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" aria-hidden="true">
      <polygon points={`0,${height} ${points.join(" ")} ${width},${height}`} />
      <polyline points={points.join(" ")} />
    </svg>
  );
}
