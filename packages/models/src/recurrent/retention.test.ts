import { disposeTree, randn, reference } from "@heddle/tensor";
import { expect, test } from "vitest";
import { relativeError } from "../../test/relative-error.js";
import { retention } from "./retention.js";

const decays = [1 - 2 ** -5, 1 - 2 ** -2];

test("every form equals the sum over the past", async () => {
  const device = reference();
  const [B, H, T, D, Dv] = [2, 2, 7, 3, 4];
  const query = randn(device, [B, H, T, D], { seed: 1 });
  const key = randn(device, [B, H, T, D], { seed: 2 });
  const value = randn(device, [B, H, T, Dv], { seed: 3 });
  const [q = [], k = [], v = []] = await Promise.all([query, key, value].map((x) => x.data()));
  const expected = new Float64Array(B * H * T * Dv);
  for (let bh = 0; bh < B * H; bh++) {
    for (let n = 0; n < T; n++) {
      for (let m = 0; m <= n; m++) {
        let score = (decays[bh % H] ?? 0) ** (n - m);
        let dot = 0;
        for (let d = 0; d < D; d++) dot += (q[(bh * T + n) * D + d] ?? 0) * (k[(bh * T + m) * D + d] ?? 0);
        score *= dot;
        for (let d = 0; d < Dv; d++) {
          const at = (bh * T + n) * Dv + d;
          expected[at] = (expected[at] ?? 0) + score * (v[(bh * T + m) * Dv + d] ?? 0);
        }
      }
    }
  }
  const whole = retention({ query, key, value }, { decays });
  for (const chunk of [T, 1, 2, 3, 100]) {
    const { out, state } = retention({ query, key, value }, { decays, chunk });
    expect(relativeError(await out.data(), expected)).toBeLessThan(1e-12);
    expect(relativeError(await state.data(), await whole.state.data())).toBeLessThan(1e-12);
    disposeTree([out, state]);
  }
  disposeTree([query, key, value, whole]);
  expect(device.memory().buffers).toBe(0);
});

test("says what it needs", () => {
  const device = reference();
  using x = randn(device, [1, 2, 3, 4], { seed: 1 });
  const heads = { query: x, key: x, value: x };
  expect(() => retention(heads, { decays: [0.5] })).toThrow(
    /decays one number a head; got chunk 3, 1 decays/,
  );
  expect(() => retention(heads, { decays, chunk: 0 })).toThrow(/got chunk 0/);
});
