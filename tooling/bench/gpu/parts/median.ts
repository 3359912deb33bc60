import type { WebGpuDevice } from "@heddle/gpu";

/** The middle one; of an even count the upper of the two in the middle, of none NaN. */
export function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? Number.NaN;
}

/** Median seconds of one `run` over rounds of several, each waited for once, after the card has warmed up. */
export async function medianSeconds(
  device: WebGpuDevice,
  run: () => void,
  {
    warmUpMs,
    rounds,
    replays,
  }: { readonly warmUpMs: number; readonly rounds: number; readonly replays: number },
): Promise<number> {
  const end = performance.now() + warmUpMs;
  // As many at a time as later: a card that mostly waits keeps its clocks low.
  while (performance.now() < end) {
    for (let i = 0; i < replays; i++) run();
    await device.sync();
  }
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    await device.sync();
    const start = performance.now();
    for (let i = 0; i < replays; i++) run();
    await device.sync();
    times.push((performance.now() - start) / 1000 / replays);
  }
  return median(times);
}
