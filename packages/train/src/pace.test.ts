import { expect, test } from "vitest";
import { createPace } from "./pace.js";

test("speed is that of the last reports, pauses left out", () => {
  const clock = { ms: 0 };
  const pace = createPace(() => clock.ms);
  expect(pace.mark(0)).toBe(0);
  clock.ms = 1000;
  expect(pace.mark(500)).toBe(500);
  const resume = pace.pause();
  clock.ms = 9000;
  resume();
  clock.ms = 10_000;
  expect(pace.mark(1000)).toBe(500);
  for (let i = 1; i <= 20; i++) {
    clock.ms += 1000;
    pace.mark(1000 + i * 2000);
  }
  clock.ms += 1000;
  expect(pace.mark(1000 + 21 * 2000)).toBe(2000);
});

test("a resumed run does not count what was done before", () => {
  const clock = { ms: 0 };
  const pace = createPace(() => clock.ms);
  clock.ms = 5000;
  pace.restart(1_000_000);
  clock.ms = 6000;
  expect(pace.mark(1_000_300)).toBe(300);
});
