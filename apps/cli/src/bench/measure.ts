import type { LoadedModel } from "@heddle/models";
import type { Work, WorkSize } from "./work.js";

/** How long the steps of a work took. */
export interface Timing {
  readonly name: Work["name"];
  readonly tokensPerStep: number;
  /** At the median step. */
  readonly tokensPerSecond: number;
  readonly stepMs: { readonly p50: number; readonly p95: number };
}

export interface MeasureOptions extends WorkSize {
  readonly model: LoadedModel;
  readonly repeats: number;
  readonly signal: AbortSignal;
  readonly onStep: (done: number) => void;
}

/** Times a work's steps after three that are not counted: the first ones compile plans and kernels. */
export async function measure(work: Work, options: MeasureOptions): Promise<Timing> {
  const { model, repeats, signal, onStep } = options;
  const running = await work.start(model, options);
  try {
    for (let warmUp = 0; warmUp < 3; warmUp++) await running.step();
    const times: number[] = [];
    while (times.length < repeats) {
      await new Promise((resolve) => setImmediate(resolve));
      signal.throwIfAborted();
      const startedAt = performance.now();
      await running.step();
      times.push(performance.now() - startedAt);
      onStep(times.length);
    }
    const { tokensPerStep } = running;
    const p50 = percentile(times, 0.5);
    return {
      name: work.name,
      tokensPerStep,
      tokensPerSecond: (tokensPerStep / p50) * 1000,
      stepMs: { p50, p95: percentile(times, 0.95) },
    };
  } finally {
    running.dispose();
  }
}

/** The value that a part of the values does not exceed: nearest rank. */
export function percentile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)] ?? Number.NaN;
}
