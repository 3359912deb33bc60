import { cpu, disposeTree, randn, reference, type Tensor, tensor, valueAndGrad } from "@heddle/tensor";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { devices } from "../../test/devices.js";
import { goldenLayer } from "../../test/golden-layer.js";
import { relativeError } from "../../test/relative-error.js";
import type { ExpertsConfig, MlpConfig, Routing } from "../config.js";
import { expertLinear } from "./expert-linear.js";
import { expertsForward } from "./experts.js";
import { loadBalancingLoss, routerZLoss } from "./router-loss.js";
import { dropOverflow, route } from "./routing.js";

const routings: readonly [string, number, Routing][] = [
  ["route_softmax_topk", 2, { scores: "softmax", isNormalized: false }],
  ["route_softmax_topk_renorm", 2, { scores: "softmax", isNormalized: true }],
  ["route_topk_softmax", 2, { scores: "chosen", isNormalized: false }],
  [
    "route_deepseek_v3",
    3,
    {
      scores: "sigmoid",
      isNormalized: true,
      scale: 2.5,
      hasChoiceBias: true,
      groups: { count: 4, topK: 2, score: "best-two" },
    },
  ],
];

describe.each(devices)("$name", ({ make, tolerance }) => {
  test.each(routings)(
    "%s: experts, weights and gradients are those of PyTorch",
    async (name, topK, routing) => {
      const device = make();
      const names = ["logits", "d_out", "indices", "out", "d_logits"] as const;
      const { logits, d_out, indices, out, d_logits } = goldenLayer(device, name, names);
      const bias = routing.hasChoiceBias ? goldenLayer(device, name, ["bias"]).bias : undefined;
      const weigh = (x: Tensor) => {
        const { weights_NK } = route({ topK, routing }, x, bias);
        return { value: weights_NK.mul(d_out).sum(), weights_NK };
      };
      const { experts_NK, weights_NK } = route({ topK, routing }, logits, bias);
      expect(Array.from(await experts_NK.data())).toEqual(Array.from(await indices.data()));
      expect(relativeError(await weights_NK.data(), await out.data())).toBeLessThan(tolerance);
      const { grad } = valueAndGrad((x: Tensor) => weigh(x).value)(logits);
      expect(relativeError(await grad.data(), await d_logits.data())).toBeLessThan(tolerance);
      device.dispose();
    },
  );

  test("a whole layer: outputs and gradients are those of PyTorch", async () => {
    const device = make();
    const weightNames = ["x", "w_router", "w_gate", "w_up", "w_down"] as const;
    const gradNames = ["d_x", "d_w_router", "d_w_gate", "d_w_up", "d_w_down"] as const;
    const file = goldenLayer(device, "moe_swiglu", [...weightNames, ...gradNames, "out", "d_out"]);
    const mlp: MlpConfig = { kind: "experts", activation: "silu", hasBias: false };
    const experts: ExpertsConfig = {
      numExperts: 4,
      topK: 2,
      routing: { scores: "softmax", isNormalized: true },
    };
    const run = ({ x, router, gate, up, down }: Record<"x" | "router" | "gate" | "up" | "down", Tensor>) => {
      const parts = { gate: { weight: gate }, up: { weight: up }, down: { weight: down } };
      return expertsForward(mlp, { weights: { router: { weight: router }, ...parts }, experts }, x);
    };
    const { x, w_router: router, w_gate: gate, w_up: up, w_down: down } = file;
    const inputs = { x, router, gate, up, down };
    expect(relativeError(await run(inputs).data(), await file.out.data())).toBeLessThan(tolerance);
    const { grad } = valueAndGrad((tree: typeof inputs) => run(tree).mul(file.d_out).sum())(inputs);
    const wanted = {
      x: file.d_x,
      router: file.d_w_router,
      gate: file.d_w_gate,
      up: file.d_w_up,
      down: file.d_w_down,
    };
    for (const [name, expected] of Object.entries(wanted)) {
      const actual = grad[name as keyof typeof grad];
      expect(relativeError(await actual.data(), await expected.data()), name).toBeLessThan(10 * tolerance);
    }
    device.dispose();
  });

  test.each(["load_balance_hf", "load_balance_hf_masked"])("%s", async (name) => {
    const device = make();
    const names = ["layer0", "layer1", "out", "d_layer0", "d_layer1"] as const;
    const { layer0, layer1, out, d_layer0, d_layer1 } = goldenLayer(device, name, names);
    const mask = name.endsWith("masked")
      ? { mask: goldenLayer(device, name, ["attention_mask"]).attention_mask.reshape([-1]) }
      : {};
    const loss = (layers: Tensor[]) => loadBalancingLoss(layers, { topK: 2, ...mask });
    const { value, grad } = valueAndGrad(loss)([layer0, layer1]);
    expect(relativeError(await value.data(), await out.data())).toBeLessThan(tolerance);
    for (const [at, expected] of [d_layer0, d_layer1].entries())
      expect(relativeError((await grad[at]?.data()) ?? [], await expected.data())).toBeLessThan(
        10 * tolerance,
      );
    device.dispose();
  });

  test.each([
    ["load_balance_switch", (x: Tensor) => loadBalancingLoss([x], { topK: 1 })],
    ["router_z_loss", routerZLoss],
  ] as const)("%s", async (name, loss) => {
    const device = make();
    const { logits, out, d_logits } = goldenLayer(device, name, ["logits", "out", "d_logits"]);
    const { value, grad } = valueAndGrad(loss)(logits);
    expect(relativeError(await value.data(), await out.data())).toBeLessThan(tolerance);
    expect(relativeError(await grad.data(), await d_logits.data())).toBeLessThan(10 * tolerance);
    device.dispose();
  });

  test("each row meets the matrix of its own expert, whatever the extents", async () => {
    const device = make();
    const size = fc.integer({ min: 1, max: 9 });
    await fc.assert(
      fc.asyncProperty(fc.record({ rows: size, out: size, into: size, numExperts: size }), async (sizes) => {
        const { rows, out, into, numExperts } = sizes;
        const x = randn(device, [rows, into], { seed: 1 });
        const weight = randn(device, [numExperts, out, into], { seed: 2 });
        const bias = randn(device, [numExperts, out], { seed: 3 });
        const chosen = Int32Array.from({ length: rows }, (_, row) => (row * 7) % numExperts);
        const expert = tensor(device, chosen);
        const y = expertLinear(x, { weight, bias }, expert);
        const [xs, ws, bs] = [await x.data(), await weight.data(), await bias.data()];
        const expected = Array.from({ length: rows * out }, (_, at) => {
          const [row, o] = [Math.floor(at / out), at % out];
          const e = chosen[row] ?? 0;
          let sum = bs[e * out + o] ?? 0;
          for (let i = 0; i < into; i++)
            sum += (ws[(e * out + o) * into + i] ?? 0) * (xs[row * into + i] ?? 0);
          return sum;
        });
        expect(relativeError(await y.data(), expected)).toBeLessThan(tolerance);
        disposeTree([x, weight, bias, expert, y]);
        expect(device.memory().buffers).toBe(0);
      }),
      { numRuns: 30 },
    );
    device.dispose();
  });
});

test.each(["f16", "bf16"] as const)(
  "experts in %s give the products and gradients of widened ones",
  async (dtype) => {
    for (const [rows, out, into] of [
      [5, 7, 13],
      [3, 8, 32],
      [1, 1, 3],
    ] as const) {
      const device = cpu({ threads: 2 });
      const x = randn(device, [rows, into], { seed: 1 });
      const half = randn(device, [3, out, into], { seed: 2 }).cast(dtype);
      const wide = half.cast("f32");
      const expert = tensor(
        device,
        Int32Array.from({ length: rows }, (_, row) => (2 * row) % 3),
      );
      const results: number[][] = [];
      for (const weight of [half, wide]) {
        const { value, grad } = valueAndGrad((given: { x: Tensor; weight: Tensor }) =>
          expertLinear(given.x, { weight: given.weight }, expert).square().sum(),
        )({ x, weight });
        expect(grad.weight.dtype).toBe(weight.dtype);
        results.push([await value.item(), ...(await grad.x.data())].map(Number));
        disposeTree([value, grad]);
      }
      expect(results[0]).toEqual(results[1]);
      disposeTree([x, half, wide, expert]);
      device.dispose();
    }
  },
);

test("an expert takes no more tokens than its capacity, first choices before second ones", async () => {
  const device = reference();
  const experts_NK = tensor(device, Int32Array.of(0, 1, 0, 1, 0, 1, 1, 0), { shape: [4, 2] });
  const weights_NK = tensor(device, [1, 2, 3, 4, 5, 6, 7, 8], { shape: [4, 2] });
  const kept = async (capacity: number) =>
    Array.from(await dropOverflow({ experts_NK, weights_NK }, { numExperts: 2, capacity }).weights_NK.data());
  // Expert 0: tokens 0, 1, 2 as first choice, 3 as second. Expert 1: token 3 as first, 0, 1, 2 as second.
  expect(await kept(4)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  expect(await kept(3)).toEqual([1, 2, 3, 4, 5, 0, 7, 0]);
  expect(await kept(1)).toEqual([1, 0, 0, 0, 0, 0, 7, 0]);
});

test("one expert without a limit is a plain feed-forward block; with none left, nothing is added", async () => {
  const device = reference();
  const mlp: MlpConfig = { kind: "experts", activation: "gelu", hasBias: false };
  const weights = {
    router: { weight: randn(device, [1, 6], { seed: 0 }) },
    gate: { weight: randn(device, [1, 8, 6], { seed: 1 }) },
    up: { weight: randn(device, [1, 8, 6], { seed: 2 }) },
    down: { weight: randn(device, [1, 6, 8], { seed: 3 }) },
  };
  const x = randn(device, [5, 6], { seed: 4 });
  const one: ExpertsConfig = { numExperts: 1, topK: 1, routing: { scores: "softmax", isNormalized: false } };
  const whole = await expertsForward(mlp, { weights, experts: one }, x).data();
  const [gate, up, down] = [weights.gate, weights.up, weights.down].map(({ weight }) => weight.squeeze([0]));
  const { feedForward } = await import("../blocks/mlp.js");
  if (!gate || !up || !down) throw new Error("three matrices");
  const parts = { gate: { weight: gate }, up: { weight: up }, down: { weight: down } };
  const plain = await feedForward({ ...mlp, kind: "gated" }, parts, x).data();
  expect(relativeError(whole, plain)).toBeLessThan(1e-12);
  const limited = await expertsForward(mlp, { weights, experts: { ...one, capacityFactor: 0.4 } }, x).data();
  expect(Array.from(limited.subarray(12)).every((value) => value === 0)).toBe(true);
  expect(relativeError(limited.subarray(0, 12), plain.subarray(0, 12))).toBeLessThan(1e-12);
});

test("extents, types and empty lists that do not fit are errors", () => {
  const device = reference();
  const weight = randn(device, [3, 4, 5], { seed: 1 });
  const x = randn(device, [2, 5], { seed: 2 });
  const expert = tensor(device, Int32Array.of(0, 1));
  const messageOf = (run: () => unknown) => {
    try {
      return run();
    } catch (error) {
      return String(error);
    }
  };
  expect([
    messageOf(() => expertLinear(x.reshape([5, 2]), { weight }, expert)),
    messageOf(() => expertLinear(x, { weight }, expert.cast("f32"))),
    messageOf(() => loadBalancingLoss([], { topK: 1 })),
  ]).toMatchInlineSnapshot(`
    [
      "HeddleError: expertLinear: x must be [R, in], weight [X, out, in] and expert [R]; got [5, 2], [3, 4, 5], [2]. Reshape the rows to two axes.",
      "HeddleError: expertLinear: x and weight must be of one dtype, or weight in half precision, and expert i32; got f64, f64, f32. Cast them.",
      "HeddleError: loadBalancingLoss: there must be the logits of at least one router; got none. Ask a model with experts for them.",
    ]
  `);
});
