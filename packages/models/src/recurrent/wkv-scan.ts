import {
  concat,
  defineOp,
  fillLike,
  HeddleError,
  invariant,
  type Op,
  scope,
  type Tensor,
  type TensorType,
  valueAndGrad,
} from "@heddle/tensor";
import { wkvScanWasm } from "./kernels/wkv-scan.wasm.js";
import { wkvScanWgsl } from "./kernels/wkv-scan.wgsl.js";
import type { ScanResult } from "./selective-scan.js";

/** What a WKV scan reads. Letter: I channels. */
export interface WkvScanInputs {
  /** [B, T, I] */
  readonly key: Tensor;
  /** [B, T, I] */
  readonly value: Tensor;
  /** Added to the exponent of the past with each token, [I]; negative, so that the past fades. */
  readonly decay: Tensor;
  /** Added to the exponent of the current token, [I]. */
  readonly bonus: Tensor;
  /** As an earlier call returned it, [B, 3, I]: numerator, denominator, and the exponent that both are divided by. */
  readonly state?: Tensor;
}

/** The exponent of a past without tokens: finite, so that differences stay numbers. */
export const noExponent = -1e38;

/**
 * Averages values with weights that fade with age: out_t = sum_(j<t) e^((t-1-j) w + k_j) v_j + e^(u + k_t) v_t, over the same
 * sum without v (w decay, u bonus), channel by channel. Exponents are kept relative to their maximum, so that nothing overflows.
 *
 * Shapes: key and value [B, T, I], decay and bonus [I], state [B, 3, I] -> out [B, T, I], state [B, 3, I]. Scanning a text in
 * pieces gives the same numbers as scanning it whole. Differentiable in key, value, decay and bonus through `out` only.
 * @returns two tensors that the caller disposes
 * @throws HeddleError "shape" or "dtype" if the tensors do not fit; "unsupported" where a gradient through the state is asked for
 * @see Peng et al. 2023, RWKV, arXiv:2305.13048, equation 16 and appendix D
 */
export function wkvScan({ key, value, decay, bonus, state }: WkvScanInputs): ScanResult {
  return scope(key.device, () => {
    const start = state ?? emptyWkvState(key);
    const [out, last] = wkvScanOp.apply([key, value, decay, bonus, start], {}) as [Tensor, Tensor];
    return { out, state: last };
  });
}

/** The state before the first token, [B, 3, I], like a key [B, T, I]. */
export function emptyWkvState(like: Tensor): Tensor {
  const [B = 0, , I = 0] = like.shape;
  const key = like.detach();
  const zeros = fillLike(key, 0, { shape: [B, 2, I] });
  return concat([zeros, fillLike(key, noExponent, { shape: [B, 1, I] })], { axis: 1 });
}

type NoParams = Record<string, never>;

/** Inputs key, value, decay, bonus, state; outputs out, state. */
export const wkvScanOp: Op<NoParams> = defineOp({
  name: "wkvScan",
  infer(inputs) {
    const { key, state } = checkWkv(inputs);
    return [key, state].map(({ shape, dtype }) => ({ shape, dtype }));
  },
  evaluate(inputs, outputs) {
    const [key, value, decay, bonus, state] = inputs.map(({ data }) => data);
    const [out, last] = outputs.map(({ data }) => data);
    if (!key || !value || !decay || !bonus || !state || !out || !last) return;
    const [B = 0, T = 0, I = 0] = inputs[0]?.shape ?? [];
    for (let b = 0; b < B; b++) {
      for (let i = 0; i < I; i++) {
        const s = 3 * b * I + i;
        let past: Past = { sum: state[s] ?? 0, weight: state[s + I] ?? 0, exponent: state[s + 2 * I] ?? 0 };
        for (let t = 0; t < T; t++) {
          const at = (b * T + t) * I + i;
          const now: Past = { sum: value[at] ?? 0, weight: 1, exponent: key[at] ?? 0 };
          const seen = join(past, { ...now, exponent: now.exponent + (bonus[i] ?? 0) });
          out[at] = seen.sum / seen.weight;
          past = join({ ...past, exponent: past.exponent + (decay[i] ?? 0) }, now);
        }
        last[s] = past.sum;
        last[s + I] = past.weight;
        last[s + 2 * I] = past.exponent;
      }
    }
  },
  reference: (inputs) => composedScan(inputs),
  vjp({ inputs, outputs: [out], grads: [g, gState], needed }) {
    const [key, value, decay, bonus, state] = inputs;
    if (gState !== undefined || needed[4] === true) {
      const message =
        "wkvScan: gradients flow through `out` alone; got one asked of the state. Detach the state between pieces of a text.";
      throw new HeddleError("unsupported", message, {});
    }
    if (!key || !value || !decay || !bonus || !state || !out || !g) return [];
    const given = [key, value, decay, bonus, state, out, g];
    return key.device.readSync === undefined ? composedWkvGrad(given) : wkvScanGradOp.apply(given, {});
  },
  kernels: { wasm: wkvScanWasm, wgsl: wkvScanWgsl },
});

/** The scan as a composition, one token after another: for devices without a kernel of their own. */
function composedScan([key, value, decay, bonus, state]: readonly Tensor[]): readonly Tensor[] {
  if (!key || !value || !decay || !bonus || !state) return [];
  const T = key.shape[1] ?? 0;
  type Parts = Readonly<Record<"sum" | "weight" | "exponent", Tensor>>;
  const joined = (a: Parts, now: { readonly value: Tensor; readonly exponent: Tensor }): Parts => {
    const exponent = a.exponent.maximum(now.exponent);
    const [old, fresh] = [a.exponent.sub(exponent).exp(), now.exponent.sub(exponent).exp()];
    return { sum: a.sum.mul(old).add(now.value.mul(fresh)), weight: a.weight.mul(old).add(fresh), exponent };
  };
  const part = (at: number) => state.narrow(1, at, at + 1); // [B, 1, I]
  let past: Parts = { sum: part(0), weight: part(1), exponent: part(2) };
  const outs = Array.from({ length: T }, (_, t) => {
    const [k, v] = [key.narrow(1, t, t + 1), value.narrow(1, t, t + 1)];
    const seen = joined(past, { value: v, exponent: k.add(bonus) });
    past = joined({ ...past, exponent: past.exponent.add(decay) }, { value: v, exponent: k });
    return seen.sum.div(seen.weight);
  });
  return [concat(outs, { axis: 1 }), concat([past.sum, past.weight, past.exponent], { axis: 1 })];
}

/** sum e^exponent and weight e^exponent, the numerator and denominator of an average. */
interface Past {
  readonly sum: number;
  readonly weight: number;
  readonly exponent: number;
}

function join(a: Past, b: Past): Past {
  const exponent = Math.max(a.exponent, b.exponent);
  const [x, y] = [Math.exp(a.exponent - exponent), Math.exp(b.exponent - exponent)];
  return { sum: a.sum * x + b.sum * y, weight: a.weight * x + b.weight * y, exponent };
}

/**
 * Inputs key, value, decay, bonus, state, out, gradient of out; outputs the gradients of the first four.
 *
 * With share_t = e^(u + k_t) / D_t and q_t = 1 / D_t (D the denominator of out): out_t moves by share_t (v_t - out_t) with
 * u + k_t, and by q_t e^(..) (v_j - out_t) with the exponent of an older token j. So an older token needs two running sums over
 * later t: of q_t g_t and of q_t g_t out_t, each fading by e^w a step.
 */
const wkvScanGradOp: Op<NoParams> = defineOp({
  name: "wkvScanGrad",
  infer: (inputs) => inputs.slice(0, 4).map(({ shape, dtype }) => ({ shape, dtype })),
  evaluate(inputs, outputs) {
    const [B = 0, T = 0, I = 0] = inputs[0]?.shape ?? [];
    const [key, value, decay, bonus, state, out, g] = inputs.map(({ data }) => data);
    const [dKey, dValue, dDecay, dBonus] = outputs.map(({ data }) => data);
    if (!key || !value || !decay || !bonus || !state || !out || !g) return;
    if (!dKey || !dValue || !dDecay || !dBonus) return;
    const pasts: Past[] = new Array(T); // what token t sees of the past, before its decay
    for (let b = 0; b < B; b++) {
      for (let i = 0; i < I; i++) {
        const [w, u, s] = [decay[i] ?? 0, bonus[i] ?? 0, 3 * b * I + i];
        let past: Past = { sum: state[s] ?? 0, weight: state[s + I] ?? 0, exponent: state[s + 2 * I] ?? 0 };
        for (let t = 0; t < T; t++) {
          const at = (b * T + t) * I + i;
          pasts[t] = past;
          past = join(
            { ...past, exponent: past.exponent + w },
            { sum: value[at] ?? 0, weight: 1, exponent: key[at] ?? 0 },
          );
        }
        // Gradients of the past's sum and weight after token t, times e^-exponent.
        let later: Past = { sum: 0, weight: 0, exponent: noExponent };
        for (let t = T - 1; t >= 0; t--) {
          const at = (b * T + t) * I + i;
          const [k, v, o, gt] = [key[at] ?? 0, value[at] ?? 0, out[at] ?? 0, g[at] ?? 0];
          const seen = pasts[t] ?? { sum: 0, weight: 0, exponent: noExponent };
          const now = join(seen, { sum: v, weight: 1, exponent: u + k });
          const share = Math.exp(u + k - now.exponent) / now.weight;
          const entering = Math.exp(k + later.exponent);
          dValue[at] = gt * share + later.sum * entering;
          const toBonus = gt * share * (v - o);
          dBonus[i] = (dBonus[i] ?? 0) + toBonus;
          dKey[at] = toBonus + (later.sum * v + later.weight) * entering;
          const fading = Math.exp(seen.exponent + w + later.exponent);
          dDecay[i] = (dDecay[i] ?? 0) + (later.sum * seen.sum + later.weight * seen.weight) * fading;
          const here: Past = {
            sum: gt / now.weight,
            weight: (-gt * o) / now.weight,
            exponent: -now.exponent,
          };
          later = join({ ...later, exponent: later.exponent + w }, here);
        }
      }
    }
  },
});

/** The gradient of the composition: for devices whose memory loops on the host cannot reach. */
export function composedWkvGrad(inputs: readonly Tensor[]): readonly Tensor[] {
  const [state, , g] = inputs.slice(4);
  if (!state || !g) return [];
  return valueAndGrad((scanned: readonly Tensor[]) => {
    const [out] = composedScan([...scanned, state]);
    invariant(out, "a scan gives its output");
    return out.mul(g).sum();
  })(inputs.slice(0, 4)).grad;
}

function checkWkv(inputs: readonly TensorType[]): { key: TensorType; state: TensorType } {
  const [key, value, decay, bonus, state] = inputs;
  const [B, T, I] = key?.shape ?? [];
  const expected = [[B, T, I], [B, T, I], [I], [I], [B, 3, I]];
  const fits = expected.every(
    (shape, at) =>
      inputs[at]?.shape.length === shape.length &&
      shape.every((extent, axis) => extent === inputs[at]?.shape[axis]),
  );
  if (!key || !value || !decay || !bonus || !state || !fits) {
    const names = ["key", "value", "decay", "bonus", "state"];
    const got = inputs.map(({ shape }, at) => `${names[at]} [${shape.join(", ")}]`).join(", ");
    const message = `wkvScan: key and value must be [B, T, I], decay and bonus [I], state [B, 3, I]; got ${got}. Reshape them.`;
    throw new HeddleError("shape", message, { shapes: inputs.map(({ shape }) => shape) });
  }
  if (inputs.some(({ dtype }) => dtype !== key.dtype) || (key.dtype !== "f32" && key.dtype !== "f64")) {
    const got = inputs.map(({ dtype }) => dtype).join(", ");
    const message = `wkvScan: all tensors must be of one dtype, f32 or f64; got ${got}. Cast them to f32.`;
    throw new HeddleError("dtype", message, { dtypes: inputs.map(({ dtype }) => dtype) });
  }
  return { key, state };
}
