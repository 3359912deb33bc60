import { expect, test } from "vitest";
import { readGolden } from "../test/golden/read.js";
import { type Schedule, scheduleFactor } from "./schedules.js";

const run = { warmupSteps: 10, totalSteps: 100 };
const schedules: Record<string, Schedule> = {
  constant: { kind: "constant" },
  constant_warmup: { kind: "constant", warmupSteps: 10 },
  linear: { kind: "linear", ...run },
  linear_nowarmup: { kind: "linear", totalSteps: 100 },
  cosine: { kind: "cosine", ...run },
  cosine_half_cycles: { kind: "cosine", ...run, cycles: 1.5 },
  cosine_min_lr_rate: { kind: "cosine", ...run, minRatio: 0.1 },
  cosine_warmup_min_lr: { kind: "cosine", ...run, minRatio: 0.1, startsAboveZero: true },
  cosine_restarts: { kind: "cosine-with-restarts", ...run, cycles: 3 },
  polynomial: { kind: "polynomial", ...run, power: 2, endRatio: 1e-7 },
  inverse_sqrt: { kind: "inverse-sqrt", warmupSteps: 10 },
  inverse_sqrt_timescale: { kind: "inverse-sqrt", warmupSteps: 10, timescale: 30 },
  wsd: { kind: "warmup-stable-decay", warmupSteps: 10, stableSteps: 70, decaySteps: 20 },
  wsd_types: {
    kind: "warmup-stable-decay",
    warmupSteps: 10,
    stableSteps: 70,
    decaySteps: 20,
    warmupShape: "cosine",
    decayShape: "linear",
    minRatio: 0.1,
  },
  onecycle: { kind: "one-cycle", totalSteps: 100 },
};

const golden = readGolden("optim/schedules.safetensors");

test("every golden schedule has its counterpart", () => {
  expect(Object.keys(schedules).sort()).toEqual([...golden.names].sort());
});

test.each(Object.entries(schedules))("%s gives the golden rates", (name, schedule) => {
  const peak = name === "onecycle" ? 0.1 : 1;
  const rates = golden.get(name).data;
  expect(rates.length).toBeGreaterThanOrEqual(100);
  for (const [step, rate] of rates.entries()) {
    const ours = peak * scheduleFactor(schedule, step);
    expect(Math.abs(ours - rate), `step ${step}: ${ours} for ${rate}`).toBeLessThanOrEqual(
      1e-9 * Math.max(rate, 1e-3),
    );
  }
});
