import { readFileSync } from "node:fs";
import { loadTensors, memorySource, openSafetensors } from "@heddle/checkpoints";
import { disposeTree, randn, reference, type Tensor, tensor } from "@heddle/tensor";
import { afterAll, describe, expect, test } from "vitest";
import { findDevice } from "../../gpu/test/find-device.js";
import { chooseTokens, type Truncation, tokenFilters } from "../src/decoder/choose-tokens.js";
import { createSampler, inverseCdf } from "../src/generation/sampling/sampler.js";
import { logSumExp, softmaxOf } from "../src/generation/sampling/scores.js";
import { minP, topK, topP } from "../src/generation/sampling/truncation.js";

const { device, reason } = await findDevice();
afterAll(() => device?.dispose());

interface Row {
  readonly logits: ArrayLike<number>;
  readonly temperature: number;
  readonly draw: number;
  readonly truncation?: Truncation;
}

/** Tokens and their log-probabilities, as a device chooses them. */
async function chosenOn(on: Tensor["device"], rows: readonly Row[]) {
  const width = rows[0]?.logits.length ?? 0;
  const all = new Float32Array(rows.length * width);
  for (const [i, { logits }] of rows.entries()) all.set(logits, i * width);
  const logits = tensor(on, all, { shape: [rows.length, width] });
  const filters = tokenFilters(
    on,
    rows.map(({ truncation }) => truncation),
  );
  const drawing = {
    temperature: tensor(
      on,
      Float32Array.from(rows, ({ temperature }) => temperature),
    ),
    draws: tensor(
      on,
      Float32Array.from(rows, ({ draw }) => draw),
    ),
    ...(filters && { filters }),
  };
  const chosen = chooseTokens(logits, drawing);
  const [tokens, results] = await Promise.all([chosen.tokens.data(), chosen.results.data()]);
  disposeTree([logits, drawing, chosen]);
  return { tokens: Array.from(tokens, Number), results: Array.from(results, Number) };
}

/** What the sampler of the host keeps. */
function keptOf({ logits, temperature, truncation }: Row): Float64Array {
  const scores = Float64Array.from(logits, (x) => x / temperature);
  const { topK: k, topP: mass, minP: share } = truncation ?? { topK: 0, topP: 1, minP: 0 };
  if (k > 0) topK(k)(scores, []);
  if (mass < 1) topP(mass)(scores, []);
  if (share > 0) minP(share)(scores, []);
  return scores;
}

const hostChoice = (row: Row) => inverseCdf(softmaxOf(keptOf(row)), row.draw);

const none: Truncation = { topK: 0, topP: 1, minP: 0 };
const truncations: readonly Truncation[] = [
  { ...none, topK: 1 },
  { ...none, topK: 40 },
  { ...none, topP: 0.9 },
  { ...none, topP: 0.05 },
  { ...none, minP: 0.1 },
  { topK: 50, topP: 0.8, minP: 0 },
  { topK: 200, topP: 0.95, minP: 0.02 },
];

async function randomLogits(width: number, { seed, scale }: { seed: number; scale: number }) {
  using made = randn(reference(), [width], { seed });
  return Float32Array.from(await made.data(), (x) => scale * x);
}

if (device === undefined) test.skip(`truncated choices on WebGPU: ${reason}`);
else {
  describe.each([3, 256, 1025, 33_001])("of %i logits", (width) => {
    test.each(truncations)("$topK, $topP, $minP", async (truncation) => {
      const rows: Row[] = [];
      for (const [i, temperature] of [0.7, 1, 1.6].entries()) {
        const logits = await randomLogits(width, { seed: width + i, scale: 3 });
        for (const draw of [0, 0.031, 0.37, 0.71, 0.999])
          rows.push({ logits, temperature, draw, truncation });
      }
      const { tokens, results } = await chosenOn(device, rows);
      expect(tokens).toEqual(rows.map(hostChoice));
      for (const [i, { logits }] of rows.entries()) {
        expect(results[2 * i + 1]).toBeCloseTo(
          (logits[tokens[i] ?? -1] ?? Number.NaN) - logSumExp(logits),
          4,
        );
      }
    });
  });

  test("rows of any kind side by side, as by the composition", async () => {
    const logits = await randomLogits(700, { seed: 5, scale: 2 });
    const rows: Row[] = [
      { logits, temperature: 0, draw: 0.5, truncation: { ...none, topK: 3 } },
      { logits, temperature: 1, draw: 0.5 },
      { logits, temperature: 0.8, draw: 0.9, truncation: { ...none, topP: 0.3 } },
      { logits, temperature: 1.2, draw: 0.2, truncation: { topK: 5, topP: 0.9, minP: 0.3 } },
      { logits, temperature: 1.2, draw: 0.7, truncation: { ...none, minP: 0.001 } },
    ];
    const [actual, expected] = [await chosenOn(device, rows), await chosenOn(reference(), rows)];
    expect(actual.tokens).toEqual(expected.tokens);
    for (const [i, value] of expected.results.entries()) expect(actual.results[i]).toBeCloseTo(value, 4);
    expect(actual.tokens.slice(1)).toEqual(rows.slice(1).map(hostChoice));
  });

  test("of equal logits those that the host keeps stay", async () => {
    const logits = Float32Array.from({ length: 3000 }, (_, i) => (i % 7 === 0 ? 2 : i % 5 === 0 ? -0 : 0));
    const rows = [0, 0.2, 0.4, 0.6, 0.8, 0.999].flatMap((draw) =>
      [
        { ...none, topK: 3 },
        { ...none, topK: 1000 },
        { ...none, topP: 0.31 },
        { ...none, topP: 0.77 },
        { topK: 900, topP: 0.5, minP: 0.05 },
      ].map((truncation): Row => ({ logits, temperature: 1, draw, truncation })),
    );
    expect((await chosenOn(device, rows)).tokens).toEqual(rows.map(hostChoice));
    expect((await chosenOn(reference(), rows)).tokens).toEqual(rows.map(hostChoice));
  });

  test("impossible tokens stay so, and a logit that is no number gives no log-probability", async () => {
    const logits = await randomLogits(2048, { seed: 9, scale: 2 });
    for (let i = 0; i < logits.length; i += 2) logits[i] = Number.NEGATIVE_INFINITY;
    const rows = truncations.map((truncation): Row => ({ logits, temperature: 1, draw: 0.63, truncation }));
    expect((await chosenOn(device, rows)).tokens).toEqual(rows.map(hostChoice));
    logits[7] = Number.NaN;
    const { results } = await chosenOn(device, rows);
    expect(rows.map((_, i) => Number.isNaN(results[2 * i + 1]))).toEqual(rows.map(() => true));
  });

  test("what transformers' processors leave is drawn from", async () => {
    const file = readFileSync(new URL("golden/processors.safetensors", import.meta.url));
    const source = memorySource({ "model.safetensors": new Uint8Array(file) });
    const arrays = await loadTensors(await openSafetensors(source), { device: reference() });
    const rowsOf = async (name: string) => {
      const values = Array.from((await arrays[name]?.data()) ?? [], Number);
      const width = values.length / 4;
      return Array.from({ length: 4 }, (_, row) => values.slice(row * width, (row + 1) * width));
    };
    const scores = await rowsOf("logits");
    for (const [name, truncation] of Object.entries({
      top_k_1: { ...none, topK: 1 },
      top_k_5: { ...none, topK: 5 },
      "top_p_0.3": { ...none, topP: 0.3 },
      "top_p_0.9": { ...none, topP: 0.9 },
      "min_p_0.05": { ...none, minP: 0.05 },
      "min_p_0.2": { ...none, minP: 0.2 },
    })) {
      const left = await rowsOf(`${name}.scores`);
      const draws = Array.from({ length: 16 }, (_, i) => (i + 0.5) / 16);
      const rows = scores.flatMap((logits) =>
        draws.map((draw): Row => ({ logits, temperature: 1, draw, truncation })),
      );
      const expected = left.flatMap((row) =>
        draws.map((draw) => inverseCdf(softmaxOf(Float64Array.from(row)), draw)),
      );
      expect((await chosenOn(device, rows)).tokens).toEqual(expected);
    }
    disposeTree(arrays);
  });

  test("draws follow the distribution that is left: chi-square of 1024 draws", async () => {
    const logits = await randomLogits(300, { seed: 11, scale: 1.5 });
    const truncation = { topK: 30, topP: 0.9, minP: 0.02 };
    const sampler = createSampler({ ...truncation, temperature: 0.9, seed: 4 });
    const onDevice = sampler.onDevice({ truncates: true });
    expect(onDevice?.truncation).toEqual(truncation);
    const number = 1024;
    const counts = new Map<number, number>();
    for (let done = 0; done < number; done += 256) {
      const rows = Array.from(
        { length: 256 },
        (_, i): Row => ({
          logits,
          temperature: 0.9,
          draw: onDevice?.draw(done + i) ?? 0,
          truncation,
        }),
      );
      for (const id of (await chosenOn(device, rows)).tokens) counts.set(id, (counts.get(id) ?? 0) + 1);
    }
    const probabilities = softmaxOf(keptOf({ logits, temperature: 0.9, draw: 0, truncation }));
    const possible = [...probabilities.entries()].filter(([, p]) => p > 0);
    expect(new Set(counts.keys())).toEqual(new Set(possible.map(([id]) => id)));
    const chiSquare = possible.reduce((sum, [id, p]) => {
      const expected = p * number;
      return sum + ((counts.get(id) ?? 0) - expected) ** 2 / expected;
    }, 0);
    // Four standard deviations of the distribution above its mean.
    const freedom = possible.length - 1;
    expect(chiSquare).toBeLessThan(freedom + 4 * Math.sqrt(2 * freedom));
  });
}
