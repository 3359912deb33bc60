import { reference, tensor } from "@heddle/tensor";
import fc from "fast-check";
import { expect, test } from "vitest";
import { clipByNorm, globalNorm } from "../clip-gradients.js";
import { type Schedule, scheduleFactor } from "../schedules.js";
import { adamW } from "./adamw.js";

const numbers = fc.array(fc.double({ min: -1e3, max: 1e3, noNaN: true }), { minLength: 1, maxLength: 6 });

test("the first step of AdamW moves each weight by the learning rate against the sign of its gradient", () => {
  fc.assert(
    fc.property(numbers, fc.double({ min: 1e-6, max: 1, noNaN: true }), (values, rate) => {
      const device = reference();
      const weights = {
        w: tensor(
          device,
          values.map(() => 1),
        ),
      };
      const optimizer = adamW({ weightDecay: 0, eps: 1e-30 });
      const grads = { w: tensor(device, values) };
      optimizer.update(grads, optimizer.init(weights), weights, { learningRate: tensor(device, rate) });
      for (const [at, value] of values.entries())
        if (Math.abs(value) > 1e-9)
          expect(weights.w.dataSync()[at]).toBeCloseTo(1 - rate * Math.sign(value), 9);
    }),
  );
});

test("clipping keeps the direction and never lets a norm above the limit through", () => {
  fc.assert(
    fc.property(numbers, fc.double({ min: 1e-3, max: 1e3, noNaN: true }), (values, maxNorm) => {
      const device = reference();
      const { grads, norm } = clipByNorm({ g: tensor(device, values) }, { maxNorm });
      const before = norm.dataSync()[0] ?? 0;
      expect(before).toBeCloseTo(Math.hypot(...values), 6);
      expect(globalNorm(grads).dataSync()[0]).toBeLessThanOrEqual(Math.min(before, maxNorm) * (1 + 1e-12));
      const factor = Math.min(1, maxNorm / (before + 1e-6));
      for (const [at, value] of values.entries())
        expect(grads.g.dataSync()[at]).toBeCloseTo(value * factor, 9);
    }),
  );
});

test("schedules stay between 0 and the peak, and reach the peak at the end of the warm-up", () => {
  const schedules = fc.record({
    kind: fc.constantFrom(
      "constant",
      "linear",
      "cosine",
      "cosine-with-restarts",
      "polynomial",
      "inverse-sqrt",
    ),
    warmupSteps: fc.integer({ min: 0, max: 50 }),
    totalSteps: fc.integer({ min: 60, max: 300 }),
  }) as fc.Arbitrary<Exclude<Schedule, { kind: "warmup-stable-decay" | "one-cycle" }>>;
  fc.assert(
    fc.property(schedules, fc.integer({ min: 0, max: 400 }), (schedule, step) => {
      const factor = scheduleFactor(schedule, step);
      expect(factor).toBeGreaterThanOrEqual(0);
      expect(factor).toBeLessThanOrEqual(1);
      expect(scheduleFactor(schedule, schedule.warmupSteps ?? 0)).toBeCloseTo(1, 12);
    }),
  );
});
