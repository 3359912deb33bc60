import { expect, test } from "vitest";
import { createPowerSpectrum, logMel, melFilters } from "./log-mel.js";

/** Sines of 440 and 2500 Hz that swell, and some noise. */
const audio = Float32Array.from({ length: 1600 }, (_, n) => {
  const t = n / 16_000;
  const noise = Math.sin(12.9898 * n) * 43_758.5453;
  return (
    0.4 * t * 10 * Math.sin(2 * Math.PI * 440 * t) +
    0.2 * Math.sin(2 * Math.PI * 2500 * t) +
    0.01 * (noise - Math.floor(noise) - 0.5)
  );
});

test.each([400, 12, 30, 8, 14])("the transform of %i samples is the sum that defines it", (length) => {
  const samples = Float64Array.from({ length }, (_, n) => Math.sin(n * n) + 0.1 * n);
  const power = createPowerSpectrum(length)(samples);
  expect(power.length).toBe(length / 2 + 1);
  for (const [k, value] of power.entries()) {
    let [re, im] = [0, 0];
    for (const [n, x] of samples.entries()) {
      re += x * Math.cos((2 * Math.PI * k * n) / length);
      im -= x * Math.sin((2 * Math.PI * k * n) / length);
    }
    expect(Math.abs(value - re * re - im * im)).toBeLessThan(1e-8 * (1 + value));
  }
});

test("frames are the formula of the paper's front end, sum by sum", () => {
  const { data, shape } = logMel(audio, { numBins: 20, numSamples: 1600 });
  expect(shape).toEqual([1, 20, 10]);
  const edges = Array.from({ length: 22 }, (_, at) => {
    const top = 15 + (27 * Math.log(8)) / Math.log(6.4); // 8000 Hz in mels
    const mels = (top * at) / 21;
    return mels < 15 ? (mels * 200) / 3 : 1000 * 6.4 ** ((mels - 15) / 27);
  });
  const expected = new Float64Array(200);
  for (let t = 0; t < 10; t++) {
    for (let bin = 0; bin < 20; bin++) {
      const [low = 0, mid = 0, high = 0] = edges.slice(bin, bin + 3);
      let energy = 0;
      for (let k = 0; k <= 200; k++) {
        const f = 40 * k;
        const weight =
          f <= low || f >= high
            ? 0
            : ((f < mid ? (f - low) / (mid - low) : (high - f) / (high - mid)) * 2) / (high - low);
        if (weight === 0) continue;
        let [re, im] = [0, 0];
        for (let n = 0; n < 400; n++) {
          const at = t * 160 + n - 200;
          const x = audio[at < 0 ? -at : at > 1599 ? 3198 - at : at] ?? 0;
          const windowed = x * Math.sin((Math.PI * n) / 400) ** 2;
          re += windowed * Math.cos((2 * Math.PI * k * n) / 400);
          im -= windowed * Math.sin((2 * Math.PI * k * n) / 400);
        }
        energy += weight * (re * re + im * im);
      }
      expected[bin * 10 + t] = Math.log10(Math.max(energy, 1e-10));
    }
  }
  const loudest = Math.max(...expected);
  for (const [at, value] of data.entries())
    expect(Math.abs(value - (Math.max(expected[at] ?? 0, loudest - 8) + 4) / 4)).toBeLessThan(1e-6);
});

test("bands of Whisper: each has area 1 where it is wide, and stands above the one before", () => {
  for (const numBins of [80, 128]) {
    const filters = melFilters(numBins);
    expect(filters.length).toBe(numBins);
    const centres = filters.map(
      (row) => row.reduce((sum, weight, k) => sum + weight * 40 * k, 0) / row.reduce((a, b) => a + b, 0),
    );
    for (let bin = 1; bin < numBins; bin++)
      expect(centres[bin]).toBeGreaterThan((centres[bin - 1] ?? 0) - 1e-9);
    // The widest band is sampled densely enough for its sum to be its area.
    expect((filters.at(-1)?.reduce((a, b) => a + b, 0) ?? 0) * 40).toBeCloseTo(1, 1);
  }
});

test("30 s are 3000 frames, silence is flat, and too short a text of sound is refused", () => {
  const { data, shape } = logMel(new Float32Array(0));
  expect(shape).toEqual([1, 80, 3000]);
  expect(new Set(data)).toEqual(new Set([-1.5]));
  expect(() => logMel(new Float32Array(399), { numSamples: "given" })).toThrow(
    /at least 400 samples.*got 399 samples/,
  );
});
