import {
  appendKv,
  attention,
  cachedAttention,
  causal,
  createKvCache,
  createPagedKvCache,
  createQuantisedKvCache,
  type KvCache,
  type KvLayer,
} from "@heddle/attention";
import { rotary } from "@heddle/positional-encodings";
import { quantFromBlocks, quantizeStack } from "@heddle/quant";
import {
  cast,
  type Device,
  embedding,
  linear,
  randn,
  scope,
  type Tensor,
  tensor,
  valueAndGrad,
  zeros,
} from "@heddle/tensor";
import { dequantiseRows } from "../../attention/src/quantised-format.js";
import { randomBlocks } from "../../quant/test/random-blocks.js";
import { advanceState } from "../src/decoder/advance-state.js";
import { chooseTokens } from "../src/decoder/choose-tokens.js";
import { expertLinear } from "../src/experts/expert-linear.js";
import { selectiveScan } from "../src/recurrent/selective-scan.js";
import { softplus } from "../src/recurrent/softplus.js";
import { wkvScan } from "../src/recurrent/wkv-scan.js";

/** One call of ops above `@heddle/tensor`, the smallest that says something: values, and gradients where there are any. */
export interface PackageCase {
  readonly name: string;
  /** Largest difference from float64, relative to 1 + |expected|; default 1e-4. */
  readonly tolerance?: number;
  run(on: Device): Promise<readonly Tensor[]> | readonly Tensor[];
}

const random = (on: Device, shape: readonly number[], seed: number) =>
  scope(on, () => randn(on, shape, { seed, dtype: "f32" }).cast(on.defaultFloat));
const ints = (on: Device, ...values: readonly number[]) => tensor(on, Int32Array.from(values));

/** The loss and the gradients of named inputs. */
function graded(
  on: Device,
  shapes: Readonly<Record<string, readonly number[]>>,
  fn: (inputs: Readonly<Record<string, Tensor>>) => Tensor,
): Tensor[] {
  const inputs = Object.fromEntries(
    Object.entries(shapes).map(([name, shape], i) => [name, random(on, shape, i + 1)]),
  );
  const { value, grad } = valueAndGrad((given: typeof inputs) => {
    const result = fn(given);
    return result.mul(random(on, result.shape, 99)).sum();
  })(inputs);
  return [value, ...Object.values(grad)];
}

const get = (inputs: Readonly<Record<string, Tensor>>, name: string): Tensor => {
  const found = inputs[name];
  if (found === undefined) throw new Error(`the case has no input ${name}`);
  return found;
};

const sizes = { numLayers: 1, numSlots: 2, numKvHeads: 2, headDim: 8 };

/** Appends 20 tokens to slot 1 and attends with the last of them. */
function attendTo(on: Device, { layers: [layer] }: KvCache<KvLayer>): Tensor {
  if (layer === undefined) throw new Error("the cache has a layer");
  const [k, v] = [random(on, [1, 2, 20, 8], 1), random(on, [1, 2, 20, 8], 2)];
  appendKv(layer, k, v, { slots: ints(on, 1), starts: ints(on, 0) });
  return cachedAttention(random(on, [1, 4, 1, 8], 3), layer, { slots: ints(on, 1), starts: ints(on, 19) });
}

/** Every op of the packages above `@heddle/tensor` runs in one of these. */
export const packageCases: readonly PackageCase[] = [
  {
    name: "attention",
    run: (on) =>
      graded(on, { q: [1, 4, 5, 8], k: [1, 2, 7, 8], v: [1, 2, 7, 6] }, (x) =>
        attention(get(x, "q"), get(x, "k"), get(x, "v"), { mask: causal() }),
      ),
  },
  { name: "a cache", run: (on) => [attendTo(on, createKvCache(on, { ...sizes, maxSeqLen: 24 }))] },
  {
    name: "a cache in 8 bits, read as it lies and widened",
    run(on) {
      const cache = createQuantisedKvCache(on, { ...sizes, maxSeqLen: 24, bits: 8, group: 8 });
      const out = attendTo(on, cache);
      const layer = cache.layers[0];
      if (layer?.kind !== "quantised") throw new Error("the cache is quantised");
      const stores = { bits: 8, group: 8, slots: ints(on, 1), ends: ints(on, 20) } as const;
      return [out, ...dequantiseRows(layer, stores).map((x) => x.narrow(2, 0, 20))];
    },
  },
  {
    name: "a fork of a paged cache",
    run(on) {
      const made = createPagedKvCache(on, { ...sizes, maxSeqLen: 32, numPages: 8, pageSize: 8 });
      made.reserve(1, { from: 0, to: 20 });
      const out = attendTo(on, made.cache);
      made.fork(1, 0, 20);
      made.reserve(0, { from: 20, to: 21 });
      const layer = made.cache.layers[0] as KvLayer;
      const [k, v, q] = [1, 2, 3].map((seed) => random(on, [1, seed === 3 ? 4 : 2, 1, 8], 10 + seed)) as [
        Tensor,
        Tensor,
        Tensor,
      ];
      appendKv(layer, k, v, { slots: ints(on, 0), starts: ints(on, 20) });
      const rows = (slot: number, start: number) => ({ slots: ints(on, slot), starts: ints(on, start) });
      return [out, cachedAttention(q, layer, rows(0, 20)), cachedAttention(q, layer, rows(1, 19))];
    },
  },
  {
    name: "rotary encoding",
    run: (on) =>
      graded(on, { x: [1, 2, 5, 8] }, (x) => rotary(get(x, "x"), { positions: ints(on, 0, 3, 9, 1, 2) })),
  },
  {
    name: "a quantised weight: widened, looked up, applied",
    // Products round x to eight bits.
    tolerance: 0.05,
    run(on) {
      const weight = quantFromBlocks(on, "Q8_0", randomBlocks("Q8_0", 20 * 32, 1), [20, 32]);
      const dense = weight.dequantize();
      const scale = dense.abs().max();
      return [
        dense,
        embedding(ints(on, 3, 0, 19), weight),
        ...graded(on, { x: [3, 32] }, (x) => linear(get(x, "x"), weight).div(scale.mul(32))),
      ];
    },
  },
  {
    name: "a stack of quantised weights",
    async run(on) {
      const stack = await quantizeStack(random(on, [3, 5, 32], 1), { bits: 8, groupSize: 32 });
      return graded(on, { x: [4, 32] }, (x) => stack.applyEach(get(x, "x"), ints(on, 2, 0, 2, 1)));
    },
  },
  {
    name: "experts",
    run: (on) =>
      graded(on, { x: [4, 6], weight: [3, 5, 6] }, (x) =>
        expertLinear(get(x, "x"), { weight: get(x, "weight") }, ints(on, 2, 0, 2, 1)),
      ),
  },
  {
    name: "selective scan",
    run: (on) =>
      graded(
        on,
        {
          x: [1, 4, 6],
          delta: [1, 4, 6],
          rate: [6, 4],
          write: [1, 4, 2, 4],
          read: [1, 4, 2, 4],
          state: [1, 6, 4],
        },
        (x) => {
          const { out, state } = selectiveScan({
            x: get(x, "x"),
            delta: softplus(get(x, "delta")),
            rate: get(x, "rate").abs().neg(),
            write: get(x, "write"),
            read: get(x, "read"),
            state: get(x, "state"),
          });
          return out.add(state.sum());
        },
      ),
  },
  {
    name: "averages of RWKV",
    run: (on) =>
      graded(
        on,
        { key: [2, 4, 5], value: [2, 4, 5], decay: [5], bonus: [5] },
        (x) =>
          wkvScan({
            key: get(x, "key"),
            value: get(x, "value"),
            decay: get(x, "decay").abs().neg(),
            bonus: get(x, "bonus"),
          }).out,
      ),
  },
  {
    name: "a token is chosen and noted",
    run(on) {
      const made = chooseTokens(random(on, [1, 50], 4), undefined);
      const state = {
        token: ints(on, 1),
        position: ints(on, 7),
        row: ints(on, 2),
        ring: zeros(on, [3, 2], { dtype: "f32" }),
      };
      advanceState(state, { ...made, results: cast(made.results, "f32") });
      return [made.tokens, made.results, state.token, state.position, state.row, state.ring];
    },
  },
];
