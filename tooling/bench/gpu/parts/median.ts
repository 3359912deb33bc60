import type { WebGpuDevice } from "@heddle/gpu";

/** The middle one; of an even count the upper of the two in the middle, of none NaN. */
export function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? Number.NaN;
}

/** How often a run is timed, and how. */
export interface Timing {
  readonly warmUpMs: number;
  readonly rounds: number;
  /** Runs of a round, which is waited for once. */
  readonly replays: number;
  /**
   * Hands the card some milliseconds of other work before each round, whose own time is measured and taken off: the launches of the round are handed
   * over meanwhile, so that short ones follow each other at the card's pace and not at that of the thread that hands them over.
   */
  readonly headStart?: () => void;
}

/** Median seconds of one `run` over rounds of several, after the card has warmed up. */
export async function medianSeconds(
  device: WebGpuDevice,
  run: () => void,
  { warmUpMs, rounds, replays, headStart }: Timing,
): Promise<number> {
  const replay = () => {
    for (let i = 0; i < replays; i++) run();
  };
  const end = performance.now() + warmUpMs;
  // As many at a time as later: a card that mostly waits keeps its clocks low.
  while (performance.now() < end) {
    replay();
    await device.sync();
  }
  const [before, all] = [[], []] as [number[], number[]];
  for (let round = 0; round < rounds; round++) {
    before.push(headStart ? await secondsOf(device, headStart) : 0);
    all.push(
      await secondsOf(device, () => {
        headStart?.();
        // At once: launches are recorded while it runs.
        device.flush();
        replay();
      }),
    );
  }
  return (median(all) - median(before)) / replays;
}

async function secondsOf(device: WebGpuDevice, run: () => void): Promise<number> {
  await device.sync();
  const start = performance.now();
  run();
  await device.sync();
  return (performance.now() - start) / 1000;
}
