import { cpu, disposeTree, randn, reference, type Tensor, valueAndGrad } from "@heddle/tensor";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { worstExcess } from "../test/devices.js";
import { attention } from "./attention.js";
import { linearAttention, linformerAttention, performerFeatures } from "./linear-attention.js";
import { linearRecurrence, type RecurrenceForm, type RecurrenceInputs } from "./linear-recurrence.js";
import { gatedDeltaRule, retention, retentionDecays } from "./retention.js";

const oracle = reference();
const fast = cpu({ threads: 1 });
afterAll(() => fast.dispose());

interface Sizes {
  readonly batch: number;
  readonly heads: number;
  readonly length: number;
  readonly dim: number;
  readonly valueDim: number;
}

function inputsOf(device: typeof oracle, { batch, heads, length, dim, valueDim }: Sizes) {
  const make = (seed: number, shape: number[]) => randn(device, shape, { seed });
  const key = make(2, [batch, heads, length, dim]);
  return {
    query: make(1, [batch, heads, length, dim]),
    key: key.div(key.square().sum({ axes: 3, keepDims: true }).sqrt()),
    value: make(3, [batch, heads, length, valueDim]),
    logDecay: make(4, [batch, heads, length]).square().neg().mul(0.3),
    beta: make(5, [batch, heads, length]).sigmoid(),
  };
}

/** The recurrence in plain loops over numbers. */
function loops(
  inputs: { readonly [name in keyof Required<RecurrenceInputs>]: Tensor },
  { batch, heads, length, dim, valueDim }: Sizes,
  which: { readonly decays: boolean; readonly isDelta: boolean },
): number[] {
  const [q, k, v, g, b] = [inputs.query, inputs.key, inputs.value, inputs.logDecay, inputs.beta].map((x) =>
    x.dataSync(),
  ) as [Float64Array, Float64Array, Float64Array, Float64Array, Float64Array];
  const out: number[] = [];
  for (let head = 0; head < batch * heads; head++) {
    const state = Array.from({ length: dim }, () => new Array<number>(valueDim).fill(0));
    for (let t = 0; t < length; t++) {
      const at = head * length + t;
      const kept = which.decays ? Math.exp(g[at] ?? 0) : 1;
      for (const row of state) for (let j = 0; j < valueDim; j++) row[j] = (row[j] ?? 0) * kept;
      for (let j = 0; j < valueDim; j++) {
        const recalled = state.reduce((sum, row, i) => sum + (row[j] ?? 0) * (k[at * dim + i] ?? 0), 0);
        const fresh = v[at * valueDim + j] ?? 0;
        const update = which.isDelta ? (b[at] ?? 0) * (fresh - recalled) : fresh;
        for (const [i, row] of state.entries()) row[j] = (row[j] ?? 0) + (k[at * dim + i] ?? 0) * update;
        out.push(state.reduce((sum, row, i) => sum + (row[j] ?? 0) * (q[at * dim + i] ?? 0), 0));
      }
    }
  }
  return out;
}

const sizes = fc.record({
  batch: fc.integer({ min: 1, max: 2 }),
  heads: fc.integer({ min: 1, max: 2 }),
  length: fc.integer({ min: 1, max: 40 }),
  dim: fc.integer({ min: 1, max: 6 }),
  valueDim: fc.integer({ min: 1, max: 6 }),
});
const forms: readonly RecurrenceForm[] = ["parallel", "chunked", "recurrent"];

describe("linear recurrences", () => {
  test("parallel, chunked and recurrent forms equal plain loops, with and without decay and delta rule", () => {
    fc.assert(
      fc.property(
        sizes,
        fc.boolean(),
        fc.boolean(),
        fc.integer({ min: 1, max: 20 }),
        (which, decays, isDelta, chunk) => {
          const all = inputsOf(oracle, which);
          const expected = loops(all, which, { decays, isDelta });
          const { query, key, value } = all;
          const inputs = {
            query,
            key,
            value,
            ...(decays && { logDecay: all.logDecay }),
            ...(isDelta && { beta: all.beta }),
          };
          for (const form of forms) {
            const { out } = linearRecurrence(inputs, { form, chunk });
            expect(worstExcess(out.dataSync(), expected, 1e-9), form).toBeLessThan(1e-9);
          }
        },
      ),
      { numRuns: 25 },
    );
  });

  test("a text cut in two, with the state handed on, is the whole text", () => {
    const which = { batch: 1, heads: 2, length: 30, dim: 4, valueDim: 3 };
    for (const device of [oracle, fast]) {
      const all = inputsOf(device, which);
      const whole = gatedDeltaRule(all, { chunk: 8 });
      const part = (from: number, to: number) => {
        const cut = (x: Tensor) => x.narrow(2, from, to);
        const { query, key, value, logDecay, beta } = all;
        return {
          query: cut(query),
          key: cut(key),
          value: cut(value),
          logDecay: cut(logDecay),
          beta: cut(beta),
        };
      };
      const first = gatedDeltaRule(part(0, 13), { form: "chunked", chunk: 5 });
      const second = gatedDeltaRule(part(13, 30), { form: "recurrent", state: first.state });
      expect(worstExcess(second.out.dataSync(), whole.out.narrow(2, 13, 30).dataSync(), 1e-4)).toBeLessThan(
        1e-5,
      );
      expect(worstExcess(second.state.dataSync(), whole.state.dataSync(), 1e-4)).toBeLessThan(1e-5);
    }
  });

  test("gradients of all forms equal finite differences", () => {
    const which = { batch: 1, heads: 1, length: 7, dim: 3, valueDim: 2 };
    const weights = inputsOf(oracle, which);
    const loss = (w: typeof weights, form: RecurrenceForm) =>
      gatedDeltaRule(w, { form, chunk: 3 }).out.square().sum();
    for (const form of forms) {
      const { grad } = valueAndGrad((w: typeof weights) => loss(w, form))(weights);
      for (const name of ["query", "key", "value", "logDecay", "beta"] as const) {
        const direction = randn(oracle, weights[name].shape, { seed: 9 });
        const step = 1e-5;
        const moved = (sign: number) =>
          loss({ ...weights, [name]: weights[name].add(direction.mul(sign * step)) }, form).dataSync()[0] ??
          0;
        const slope = (moved(1) - moved(-1)) / (2 * step);
        const along = grad[name].mul(direction).sum().dataSync()[0] ?? 0;
        expect(Math.abs(along - slope), `${form} ${name}`).toBeLessThan(1e-6 * Math.max(1, Math.abs(slope)));
      }
    }
  });

  test("retention is the decayed sum of its definition", () => {
    const which = { batch: 1, heads: 2, length: 9, dim: 4, valueDim: 3 };
    const { query, key, value } = inputsOf(oracle, which);
    const decays = retentionDecays(2);
    const scores = query.matmul(key, { transposeB: true }).mul(0.5).dataSync();
    const v = value.dataSync();
    const expected: number[] = [];
    for (let h = 0; h < 2; h++) {
      for (let i = 0; i < 9; i++) {
        for (let c = 0; c < 3; c++) {
          let sum = 0;
          for (let j = 0; j <= i; j++) {
            sum +=
              (decays[h] ?? 0) ** (i - j) *
              (scores[(h * 9 + i) * 9 + j] ?? 0) *
              (v[(h * 9 + j) * 3 + c] ?? 0);
          }
          expected.push(sum);
        }
      }
    }
    for (const form of forms) {
      const { out } = retention({ query, key, value }, { form, chunk: 4 });
      expect(worstExcess(out.dataSync(), expected, 1e-9), form).toBeLessThan(1e-9);
    }
    expect(() => retention({ query, key, value }, { decays: [1] })).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: retention: decays must be 2 numbers above 0 and at most 1, one a head; got 1: 1. Use retentionDecays(2).]`,
    );
  });

  test("errors name the rule, the values and the cure", () => {
    const { query, key, value } = inputsOf(oracle, { batch: 1, heads: 2, length: 3, dim: 4, valueDim: 3 });
    expect(() => linearRecurrence({ query, key, value }, { chunk: 0 })).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: linearRecurrence: chunk must be a whole number above 0; got chunk 0. Leave it out for 64.]`,
    );
    expect(() =>
      linearRecurrence({ query, key: key.narrow(1, 0, 1), value }),
    ).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: linearRecurrence: key must be [1, 2, 3, 4] beside query [1, 2, 3, 4]; got key [1, 1, 3, 4]. Repeat kv heads to the heads of the query.]`,
    );
  });
});

describe("linear attention", () => {
  test("equals its definition, causal in every form and over all keys", () => {
    const which = { batch: 1, heads: 2, length: 11, dim: 3, valueDim: 2 };
    const { query, key, value } = inputsOf(oracle, which);
    const feature = (x: number) => (x > 0 ? x + 1 : Math.exp(x));
    const [q, k, v] = [query, key, value].map((x) => x.dataSync()) as [
      Float64Array,
      Float64Array,
      Float64Array,
    ];
    const expected = (isCausal: boolean) => {
      const out: number[] = [];
      for (let h = 0; h < 2; h++) {
        for (let i = 0; i < 11; i++) {
          const weights = Array.from({ length: isCausal ? i + 1 : 11 }, (_, j) =>
            [0, 1, 2].reduce(
              (sum, c) => sum + feature(q[(h * 11 + i) * 3 + c] ?? 0) * feature(k[(h * 11 + j) * 3 + c] ?? 0),
              0,
            ),
          );
          const total = weights.reduce((a, b) => a + b, 0);
          for (const c of [0, 1]) {
            out.push(weights.reduce((sum, w, j) => sum + (w / total) * (v[(h * 11 + j) * 2 + c] ?? 0), 0));
          }
        }
      }
      return out;
    };
    for (const form of forms) {
      const { out } = linearAttention({ query, key, value }, { form, chunk: 4 });
      expect(worstExcess(out.dataSync(), expected(true), 1e-9), form).toBeLessThan(1e-9);
    }
    const { out } = linearAttention({ query, key, value }, { isCausal: false });
    expect(worstExcess(out.dataSync(), expected(false), 1e-9)).toBeLessThan(1e-9);
  });

  test("Performer's features come near softmax attention, nearer with more features, and are orthogonal", () => {
    const which = { batch: 1, heads: 2, length: 20, dim: 8, valueDim: 4 };
    const { query, key, value } = inputsOf(oracle, which);
    const exact = attention(query, key, value).dataSync();
    const error = (numFeatures: number) => {
      let sum = 0;
      for (const seed of [1, 2, 3, 4]) {
        const featureMap = performerFeatures(oracle, { headDim: 8, numFeatures, seed });
        const { out } = linearAttention({ query, key, value }, { featureMap, isCausal: false });
        for (const [i, x] of Array.from(out.dataSync()).entries()) sum += (x - (exact[i] ?? 0)) ** 2;
      }
      return Math.sqrt(sum / (4 * exact.length));
    };
    const [few, many] = [error(16), error(1024)];
    expect(many).toBeLessThan(0.06);
    expect(many).toBeLessThan(few / 3); // 64 times the features: an eighth of the error in the mean
    const { projection } = performerFeatures(oracle, { headDim: 8, numFeatures: 16, seed: 5 });
    const block = projection.narrow(0, 8, 16);
    const products = block.matmul(block, { transposeB: true }).dataSync();
    for (let i = 0; i < 64; i++) {
      if (i % 9 !== 0) expect(Math.abs(products[i] ?? 1)).toBeLessThan(1e-9);
    }
    expect(() => performerFeatures(oracle, { headDim: 0 })).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: performerFeatures: headDim must be a whole number above 0; got headDim 0. Take 4 times the head size as features.]`,
    );
  });

  test("Linformer attends to projected keys and values", () => {
    const { query, key, value } = inputsOf(fast, { batch: 2, heads: 2, length: 10, dim: 4, valueDim: 3 });
    const keyProjection = randn(fast, [5, 10], { seed: 7 });
    const valueProjection = randn(fast, [2, 5, 10], { seed: 8 });
    const before = fast.memory().buffers;
    const out = linformerAttention({ query, key, value }, { keyProjection, valueProjection });
    expect(fast.memory().buffers).toBe(before + 1);
    const expected = attention(query, keyProjection.matmul(key), valueProjection.matmul(value));
    expect(out.dataSync()).toEqual(expected.dataSync());
    disposeTree([out, expected]);
    expect(() =>
      linformerAttention(
        { query, key, value },
        { keyProjection, valueProjection: valueProjection.narrow(2, 0, 9) },
      ),
    ).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: linformerAttention: valueProjection must be [K, 10] or [2, K, 10]; got valueProjection [2, 5, 9]. Cut it to the length of the sequence.]`,
    );
  });
});
