import { compile, type Device, disposeTree, scope, type Tensor, tensor, valueAndGrad } from "@heddle/tensor";
import { expect, test } from "vitest";
import { type ClipOptions, clipByNorm } from "../src/clip-gradients.js";
import { adamW } from "../src/optimizers/adamw.js";
import type { Optimizer } from "../src/optimizers/optimizer.js";
import { sgd } from "../src/optimizers/sgd.js";
import { readGolden } from "./golden/read.js";

const golden = readGolden("optim/traces.safetensors");

interface Trace {
  readonly optimizer: Optimizer;
  readonly rate: number;
  readonly clip?: ClipOptions;
}

const traces: Record<string, Trace> = {
  sgd: { optimizer: sgd(), rate: 0.1 },
  sgd_momentum: { optimizer: sgd({ momentum: 0.9 }), rate: 0.05 },
  sgd_momentum_dampening_wd: {
    optimizer: sgd({ momentum: 0.8, dampening: 0.3, weightDecay: 0.01 }),
    rate: 0.05,
  },
  sgd_nesterov: { optimizer: sgd({ momentum: 0.9, nesterov: true }), rate: 0.05 },
  adam: { optimizer: adamW({ betas: [0.9, 0.999], weightDecay: 0 }), rate: 0.02 },
  adam_amsgrad: { optimizer: adamW({ betas: [0.8, 0.9], weightDecay: 0, amsgrad: true }), rate: 0.05 },
  adamw: { optimizer: adamW({ betas: [0.9, 0.95], weightDecay: 0.1 }), rate: 0.02 },
  adamw_amsgrad: { optimizer: adamW({ betas: [0.8, 0.9], weightDecay: 0.1, amsgrad: true }), rate: 0.05 },
  clip_l2: { optimizer: sgd(), rate: 0.5, clip: { maxNorm: 0.05 } },
  clip_l1: { optimizer: sgd(), rate: 0.5, clip: { maxNorm: 0.2, order: 1 } },
  clip_inf: { optimizer: sgd(), rate: 0.5, clip: { maxNorm: 0.02, order: Number.POSITIVE_INFINITY } },
};

interface Weights {
  readonly W: Tensor;
  readonly b: Tensor;
}

function load(device: Device, name: string): Tensor {
  const { shape, data } = golden.get(name);
  return tensor(device, Float32Array.from(data), { shape, dtype: device.defaultFloat });
}

/** One step of the problem that the goldens solve, in place; writes nothing else. */
function stepOf({ optimizer, clip }: Trace) {
  return (
    state: { weights: Weights; optimizer: ReturnType<Optimizer["init"]> },
    batch: { X: Tensor; Y: Tensor; rate: Tensor },
  ) => {
    const { value, grad } = valueAndGrad((w: Weights) => {
      const error = batch.X.matmul(w.W).add(w.b).tanh().sub(batch.Y);
      return error
        .square()
        .sum()
        .mul(0.5 / 12);
    })(state.weights);
    const clipped = clip === undefined ? undefined : clipByNorm(grad, clip);
    optimizer.update(clipped?.grads ?? grad, state.optimizer, state.weights, { learningRate: batch.rate });
    return { loss: value, norm: clipped?.norm ?? value };
  };
}

function expectClose(got: ArrayLike<number>, name: string, step: number) {
  const { data, shape } = golden.get(name);
  const width = data.length / (shape[0] ?? 1);
  const wanted = data.subarray(step * width, (step + 1) * width);
  for (const [at, value] of wanted.entries()) {
    const error = Math.abs((got[at] ?? Number.NaN) - value);
    expect(error, `${name}[${step}][${at}]: ${got[at]} for ${value}`).toBeLessThanOrEqual(
      1e-5 + 1e-4 * Math.abs(value),
    );
  }
}

/** Follows PyTorch's optimizers over 20 steps, on a device that is left as it was found. */
export function describeOptimizerTraces(
  use: (run: (device: Device) => Promise<void>) => Promise<void>,
): void {
  test.each(Object.entries(traces))("%s follows the golden trace, eager and compiled", (name, trace) =>
    use(async (device) => {
      const before = device.memory().buffers;
      const batch = {
        X: load(device, "X"),
        Y: load(device, "Y"),
        rate: tensor(device, trace.rate),
      };
      const eager = stepOf(trace);
      const compiled = compile(eager);
      for (const step of [
        (...args: Parameters<typeof eager>) => scope(device, () => eager(...args)),
        compiled,
      ]) {
        const weights = { W: load(device, "W0"), b: load(device, "b0") };
        const state = { weights, optimizer: trace.optimizer.init(weights) };
        for (let at = 0; at < 20; at++) {
          const allocations = device.memory().allocations;
          const { loss, norm } = step(state, batch);
          // The two results are new tensors; nothing else is.
          if (step === compiled && at > 0)
            expect(device.memory().allocations - allocations).toBeLessThanOrEqual(2);
          expectClose(await loss.data(), `${name}.loss`, at);
          if (trace.clip) expectClose(await norm.data(), `${name}.grad_norm`, at);
          expectClose(await weights.W.data(), `${name}.W`, at + 1);
          expectClose(await weights.b.data(), `${name}.b`, at + 1);
          disposeTree([loss, norm]);
        }
        disposeTree(state);
      }
      compiled.dispose();
      disposeTree(batch);
      expect(device.memory().buffers).toBe(before);
    }),
  );
}
