/** How the learning rate goes over the steps of a run. Steps count from 0; lengths are in steps; ratios are of the peak. */
export type Schedule =
  | { readonly kind: "constant"; readonly warmupSteps?: number }
  | { readonly kind: "linear"; readonly warmupSteps?: number; readonly totalSteps: number }
  | CosineSchedule
  | {
      readonly kind: "cosine-with-restarts";
      readonly warmupSteps?: number;
      readonly totalSteps: number;
      /** Number of whole half waves; default 1. */
      readonly cycles?: number;
    }
  | {
      readonly kind: "polynomial";
      readonly warmupSteps?: number;
      readonly totalSteps: number;
      /** Default 1. */
      readonly power?: number;
      /** Default 0. */
      readonly endRatio?: number;
    }
  | {
      readonly kind: "inverse-sqrt";
      readonly warmupSteps?: number;
      /** Default `warmupSteps`, or 10 000 without warm-up. */
      readonly timescale?: number;
    }
  | WarmupStableDecaySchedule
  | {
      readonly kind: "one-cycle";
      readonly totalSteps: number;
      /** Part of the steps that rises; default 0.3. */
      readonly riseRatio?: number;
      /** Default 1/25. */
      readonly startRatio?: number;
      /** Of the start; default 1e-4. */
      readonly endRatio?: number;
    };

export interface CosineSchedule {
  readonly kind: "cosine";
  readonly warmupSteps?: number;
  readonly totalSteps: number;
  /** Number of waves; default 0.5: from the peak down once. */
  readonly cycles?: number;
  /** Where the wave ends; default 0. */
  readonly minRatio?: number;
  /** Warm up from 1/warmupSteps instead of 0, and end exactly at the lowest rate; default false. */
  readonly startsAboveZero?: boolean;
}

export interface WarmupStableDecaySchedule {
  readonly kind: "warmup-stable-decay";
  readonly warmupSteps: number;
  readonly stableSteps: number;
  readonly decaySteps: number;
  /** Default "linear". */
  readonly warmupShape?: RampShape;
  /** Default "cosine". */
  readonly decayShape?: RampShape;
  /** Default 0. */
  readonly minRatio?: number;
}

/** A way from 0 to 1. */
export type RampShape = "linear" | "cosine" | "1-sqrt";

/**
 * Learning rate of a step, as a factor of the peak rate.
 *
 * A warm-up rises linearly from 0 at step 0 to 1 at step `warmupSteps`, as in Hugging Face transformers.
 * @param step  number of steps done before this one
 * @see Loshchilov and Hutter 2017, SGDR, arXiv:1608.03983 (cosine, restarts); Vaswani et al. 2017 (inverse square root);
 * Hu et al. 2024, MiniCPM, arXiv:2404.06395 (warmup-stable-decay); Smith and Topin 2018, arXiv:1708.07120 (one-cycle)
 */
export function scheduleFactor(schedule: Schedule, step: number): number {
  switch (schedule.kind) {
    case "warmup-stable-decay":
      return warmupStableDecay(schedule, step);
    case "one-cycle":
      return oneCycle(schedule, step);
    default: {
      const { warmupSteps = 0 } = schedule;
      if (step >= warmupSteps) return afterWarmup(schedule, step - warmupSteps, warmupSteps);
      const first = schedule.kind === "cosine" && schedule.startsAboveZero ? 1 : 0;
      return (step + first) / warmupSteps;
    }
  }
}

type WithWarmup = Exclude<Schedule, { readonly kind: "warmup-stable-decay" | "one-cycle" }>;

/** @param step  counted from the end of the warm-up */
function afterWarmup(schedule: WithWarmup, step: number, warmupSteps: number): number {
  if (schedule.kind === "constant") return 1;
  if (schedule.kind === "inverse-sqrt") {
    const { timescale = warmupSteps || 10_000 } = schedule;
    return 1 / Math.sqrt((step + timescale) / timescale);
  }
  const progress = step / Math.max(1, schedule.totalSteps - warmupSteps);
  switch (schedule.kind) {
    case "linear":
      return Math.max(0, 1 - progress);
    case "cosine": {
      const { cycles = 0.5, minRatio = 0, startsAboveZero = false } = schedule;
      const ahead = startsAboveZero ? 1 / Math.max(1, schedule.totalSteps - warmupSteps) : 0;
      return Math.max(0, halfWave(2 * cycles * (progress + ahead)) * (1 - minRatio) + minRatio);
    }
    case "cosine-with-restarts":
      return progress >= 1 ? 0 : halfWave(((schedule.cycles ?? 1) * progress) % 1);
    case "polynomial": {
      const { power = 1, endRatio = 0 } = schedule;
      return progress > 1 ? endRatio : (1 - endRatio) * (1 - progress) ** power + endRatio;
    }
    default:
      return schedule satisfies never;
  }
}

/** From 1 at progress 0 to 0 at progress 1. */
function halfWave(progress: number): number {
  return 0.5 * (1 + Math.cos(Math.PI * progress));
}

function warmupStableDecay(schedule: WarmupStableDecaySchedule, step: number): number {
  const { warmupSteps, stableSteps, decaySteps, minRatio = 0 } = schedule;
  const { warmupShape = "linear", decayShape = "cosine" } = schedule;
  const scaled = (factor: number) => Math.max(0, factor * (1 - minRatio) + minRatio);
  if (step < warmupSteps) return scaled(ramp(warmupShape, step / warmupSteps));
  const decaying = step - warmupSteps - stableSteps;
  if (decaying < 0) return 1;
  if (decaying >= decaySteps) return minRatio;
  const progress = decaying / decaySteps;
  return scaled(decayShape === "1-sqrt" ? 1 - Math.sqrt(progress) : 1 - ramp(decayShape, progress));
}

function ramp(shape: RampShape, progress: number): number {
  switch (shape) {
    case "linear":
      return progress;
    case "cosine":
      return 1 - halfWave(progress);
    case "1-sqrt":
      return 1 - Math.sqrt(1 - progress);
    default:
      return shape satisfies never;
  }
}

function oneCycle(schedule: Extract<Schedule, { readonly kind: "one-cycle" }>, step: number): number {
  const { totalSteps, riseRatio = 0.3, startRatio = 1 / 25, endRatio = 1e-4 } = schedule;
  const top = riseRatio * totalSteps - 1;
  const between = (from: number, to: number, progress: number) => to + (from - to) * halfWave(progress);
  if (step <= top) return between(startRatio, 1, step / top);
  return between(1, startRatio * endRatio, Math.min(1, (step - top) / (totalSteps - 1 - top)));
}
