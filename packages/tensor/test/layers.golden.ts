import {
  add,
  crossEntropy,
  embedding,
  gelu,
  layerNorm,
  linear,
  logSoftmax,
  logsumexp,
  pad,
  relu,
  rmsNorm,
  silu,
  softmax,
  type Tensor,
} from "../src/index.js";

export type Arrays = Readonly<Record<string, Tensor>>;

interface LayerOptions {
  readonly eps?: number;
  readonly label_smoothing?: number;
  readonly reduction?: "mean" | "sum" | "none";
}

/** A layer of the golden set: which arrays are differentiated, and how its result is computed from all of them. */
interface GoldenLayer {
  readonly inputs: readonly string[];
  run(arrays: Arrays, options: LayerOptions): Tensor;
}

const get = (arrays: Arrays, name: string): Tensor => {
  const found = arrays[name];
  if (found === undefined) throw new Error(`the golden file has no array ${name}`);
  return found;
};

const gated = (act: (x: Tensor) => Tensor): GoldenLayer => ({
  inputs: ["x", "w_gate", "w_up", "w_down"],
  run(arrays) {
    const x = get(arrays, "x");
    const gate = act(linear(x, get(arrays, "w_gate")));
    return linear(gate.mul(linear(x, get(arrays, "w_up"))), get(arrays, "w_down"));
  },
});

const onX = (run: (x: Tensor, options: LayerOptions) => Tensor): GoldenLayer => ({
  inputs: ["x"],
  run: (arrays, options) => run(get(arrays, "x"), options),
});

const loss: GoldenLayer = {
  inputs: ["logits"],
  run(arrays, options) {
    const { label_smoothing: labelSmoothing = 0, reduction = "mean" } = options;
    return crossEntropy(get(arrays, "logits"), get(arrays, "target"), { labelSmoothing, reduction });
  },
};

const rms = (offset: number): GoldenLayer => ({
  inputs: ["x", "w"],
  run: (arrays, { eps = 1e-6 }) => rmsNorm(get(arrays, "x"), get(arrays, "w"), { eps, offset }),
});

const lookup = (paddingIdx?: number): GoldenLayer => ({
  inputs: ["w"],
  run: (arrays) =>
    embedding(get(arrays, "ids"), get(arrays, "w"), paddingIdx === undefined ? {} : { paddingIdx }),
});

export const goldenLayers: Readonly<Record<string, GoldenLayer>> = {
  rmsnorm: rms(0),
  rmsnorm_tiny: rms(0),
  rmsnorm_gemma: rms(1),
  layernorm: {
    inputs: ["x", "w", "b"],
    run: (arrays, { eps = 1e-5 }) =>
      layerNorm(get(arrays, "x"), { weight: get(arrays, "w"), bias: get(arrays, "b"), eps }),
  },
  layernorm_plain: onX((x, { eps = 1e-5 }) => layerNorm(x, { eps })),
  swiglu: gated(silu),
  geglu: gated((x) => gelu(x)),
  geglu_tanh: gated((x) => gelu(x, { approximate: "tanh" })),
  reglu: gated(relu),
  linear: {
    inputs: ["x", "w", "b"],
    run: (arrays) => linear(get(arrays, "x"), get(arrays, "w"), get(arrays, "b")),
  },
  mlp_gelu_new: {
    inputs: ["x", "w1", "b1", "w2", "b2"],
    run(arrays) {
      const hidden = gelu(linear(get(arrays, "x"), get(arrays, "w1"), get(arrays, "b1")), {
        approximate: "tanh",
      });
      return linear(hidden, get(arrays, "w2"), get(arrays, "b2"));
    },
  },
  softmax: onX((x) => softmax(x)),
  softmax_large: onX((x) => softmax(x)),
  log_softmax: onX((x) => logSoftmax(x)),
  logsumexp: onX((x) => logsumexp(x, { axes: -1 })),
  logit_softcap: onX((x) => x.div(30).tanh().mul(30)),
  ce: loss,
  ce_sum: loss,
  ce_none: loss,
  ce_ignore: loss,
  ce_smooth: loss,
  ce_ignore_smooth: loss,
  ce_ignore_smooth_sum: loss,
  ce_soft: {
    inputs: ["logits"],
    run: (arrays) =>
      logSoftmax(get(arrays, "logits")).mul(get(arrays, "target_prob")).sum({ axes: -1 }).mean().neg(),
  },
  ce_zloss: {
    inputs: ["logits"],
    run(arrays) {
      const logits = get(arrays, "logits");
      const penalty = logsumexp(logits, { axes: -1 }).square().mean().mul(1e-2);
      return add(crossEntropy(logits, get(arrays, "target")), penalty);
    },
  },
  router_z_loss: {
    inputs: ["logits"],
    run: (arrays) => logsumexp(get(arrays, "logits"), { axes: -1 }).square().mean(),
  },
  embedding: lookup(),
  embedding_padding_idx: lookup(0),
  embedding_tied: {
    inputs: ["w"],
    run: (arrays) => linear(embedding(get(arrays, "ids"), get(arrays, "w")), get(arrays, "w")),
  },
  causal_conv1d: {
    inputs: ["x", "w", "b"],
    run(arrays) {
      const [x, w] = [get(arrays, "x"), get(arrays, "w")];
      const [, T = 0, E = 0] = x.shape;
      const K = w.shape[1] ?? 0;
      const padded = pad(x, [
        [0, 0],
        [K - 1, 0],
        [0, 0],
      ]);
      const taps = Array.from({ length: K }, (_, k) =>
        padded.narrow(1, k, k + T).mul(w.narrow(1, k, k + 1).reshape([E])),
      );
      return taps.reduce(add).add(get(arrays, "b"));
    },
  },
};

/** Activations of `activations.safetensors` that the package has: each with its gradient for a sum. */
export const goldenActivations: Readonly<Record<string, (x: Tensor) => Tensor>> = {
  gelu_exact: (x) => gelu(x),
  gelu_tanh: (x) => gelu(x, { approximate: "tanh" }),
  quick_gelu: (x) => x.mul(x.mul(1.702).sigmoid()),
  relu,
  relu2: (x) => relu(x).square(),
  sigmoid: (x) => x.sigmoid(),
  silu,
  tanh: (x) => x.tanh(),
};
