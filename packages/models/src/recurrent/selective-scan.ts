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
import { selectiveScanWasm } from "./kernels/selective-scan.wasm.js";
import { selectiveScanWgsl } from "./kernels/selective-scan.wgsl.js";

/** What a selective scan reads. Letters: I channels, N numbers of state a channel, G groups of channels. */
export interface SelectiveScanInputs {
  /** [B, T, I] */
  readonly x: Tensor;
  /** Step sizes, [B, T, I]. */
  readonly delta: Tensor;
  /** Rates of change, [I, N], or [I, 1] where a channel's state decays as one. Negative for states that fade. */
  readonly rate: Tensor;
  /** How inputs enter the state, [B, T, G, N]. */
  readonly write: Tensor;
  /** How the state is read, [B, T, G, N]. */
  readonly read: Tensor;
  /** State before the first token, [B, I, N]. Default: zeros. */
  readonly state?: Tensor;
}

/** Results of a scan: what is read at each token, and where the state stands after the last. */
export interface ScanResult {
  /** [B, T, I] */
  readonly out: Tensor;
  readonly state: Tensor;
}

/**
 * Runs a selective state space: h_t = exp(delta_t rate) h_(t-1) + delta_t write_t x_t, out_t = read_t h_t, channel by channel.
 *
 * Shapes: x and delta [B, T, I], rate [I, N] or [I, 1], write and read [B, T, G, N], state [B, I, N] -> out [B, T, I], state
 * [B, I, N]. Channel i belongs to group floor(i G / I). Scanning a text in pieces, each from the state of the one before,
 * gives the same numbers as scanning it whole. Differentiable in all.
 * @returns two tensors that the caller disposes
 * @throws HeddleError "shape" if the extents do not fit, "dtype" if the tensors are not f32 (f64 on the reference device)
 * @see Gu and Dao 2023, Mamba, arXiv:2312.00752, algorithm 2; Dao and Gu 2024, Mamba-2, arXiv:2405.21060, section 7
 */
export function selectiveScan(inputs: SelectiveScanInputs): ScanResult {
  const { x, delta, rate, write, read } = inputs;
  return scope(x.device, () => {
    const [B = 0, , I = 0] = x.shape;
    const state = inputs.state ?? fillLike(x, 0, { shape: [B, I, write.shape.at(-1) ?? 0] });
    const [out, last] = selectiveScanOp.apply([x, delta, rate, write, read, state], {}) as [Tensor, Tensor];
    return { out, state: last };
  });
}

type NoParams = Record<string, never>;

/** Inputs x, delta, rate, write, read, state; outputs out, state. */
export const selectiveScanOp: Op<NoParams> = defineOp({
  name: "selectiveScan",
  infer(inputs) {
    const { x, state } = checkScan(inputs);
    return [x, state].map(({ shape, dtype }) => ({ shape, dtype }));
  },
  evaluate(inputs, outputs) {
    const [x, delta, rate, write, read, state] = inputs.map(({ data }) => data);
    const [out, last] = outputs.map(({ data }) => data);
    if (!x || !delta || !rate || !write || !read || !state || !out || !last) return;
    const sizes = scanSizes(inputs);
    const { T, N, rateN } = sizes;
    last.set(state);
    for (const { channel, h } of channelsOf(sizes)) {
      for (let t = 0; t < T; t++) {
        const { at, row } = placeOf(sizes, channel, t);
        const step = delta[at] ?? 0;
        let sum = 0;
        for (let n = 0; n < N; n++) {
          const decay = Math.exp(step * (rate[channel.i * rateN + (n % rateN)] ?? 0));
          const next = decay * (last[h + n] ?? 0) + step * (write[row + n] ?? 0) * (x[at] ?? 0);
          last[h + n] = next;
          sum += (read[row + n] ?? 0) * next;
        }
        out[at] = sum;
      }
    }
  },
  reference: (inputs) => composedScan(inputs),
  vjp({ inputs, grads: [gOut, gState] }) {
    const [x, , , , , state] = inputs;
    if (!x || !state) return [];
    const given = [...inputs, gOut ?? fillLike(x, 0), gState ?? fillLike(state, 0)];
    return x.device.readSync === undefined ? composedScanGrad(given) : selectiveScanGradOp.apply(given, {});
  },
  kernels: { wasm: selectiveScanWasm, wgsl: selectiveScanWgsl },
});

/** The scan as a composition, one token after another: for devices without a kernel of their own. */
function composedScan(inputs: readonly Tensor[]): readonly Tensor[] {
  const [x, delta, rate, write, read, start] = inputs;
  if (!x || !delta || !rate || !write || !read || !start) return [];
  const { B, T, I, G, N } = scanSizes(inputs);
  const perChannel = (rows: Tensor, t: number) =>
    rows
      .narrow(1, t, t + 1)
      .reshape([B, G, 1, N])
      .broadcastTo([B, G, I / G, N])
      .reshape([B, I, N]);
  let state = start;
  const outs = Array.from({ length: T }, (_, t) => {
    const column = (values: Tensor) => values.narrow(1, t, t + 1).reshape([B, I, 1]);
    const step = column(delta);
    state = step
      .mul(rate)
      .exp()
      .mul(state)
      .add(step.mul(column(x)).mul(perChannel(write, t)));
    return state.mul(perChannel(read, t)).sum({ axes: 2 }).reshape([B, 1, I]);
  });
  return [concat(outs, { axis: 1 }), state];
}

/** Inputs of the scan, then the gradients of out and state; outputs the gradients of the inputs. Runs backwards in time. */
const selectiveScanGradOp: Op<NoParams> = defineOp({
  name: "selectiveScanGrad",
  infer: (inputs) => inputs.slice(0, 6).map(({ shape, dtype }) => ({ shape, dtype })),
  evaluate(inputs, outputs) {
    const [x, delta, rate, write, read, state, gOut, gState] = inputs.map(({ data }) => data);
    const [dx, dDelta, dRate, dWrite, dRead, dState] = outputs.map(({ data }) => data);
    if (!x || !delta || !rate || !write || !read || !state || !gOut || !gState) return;
    if (!dx || !dDelta || !dRate || !dWrite || !dRead || !dState) return;
    const sizes = scanSizes(inputs);
    const { T, N, rateN } = sizes;
    const states = new Float64Array(T + 1);
    for (const { channel, h } of channelsOf(sizes)) {
      for (let n = 0; n < N; n++) {
        const rateAt = channel.i * rateN + (n % rateN);
        const lambda = rate[rateAt] ?? 0;
        states[0] = state[h + n] ?? 0;
        for (let t = 0; t < T; t++) {
          const { at, row } = placeOf(sizes, channel, t);
          const step = delta[at] ?? 0;
          states[t + 1] =
            Math.exp(step * lambda) * (states[t] ?? 0) + step * (write[row + n] ?? 0) * (x[at] ?? 0);
        }
        let g = gState[h + n] ?? 0; // gradient of the state after token t
        for (let t = T - 1; t >= 0; t--) {
          const { at, row } = placeOf(sizes, channel, t);
          const [step, input, into] = [delta[at] ?? 0, x[at] ?? 0, write[row + n] ?? 0];
          g += (read[row + n] ?? 0) * (gOut[at] ?? 0);
          const decay = Math.exp(step * lambda);
          const faded = g * decay * (states[t] ?? 0);
          dRead[row + n] = (dRead[row + n] ?? 0) + (states[t + 1] ?? 0) * (gOut[at] ?? 0);
          dWrite[row + n] = (dWrite[row + n] ?? 0) + g * step * input;
          dx[at] = (dx[at] ?? 0) + g * step * into;
          dDelta[at] = (dDelta[at] ?? 0) + faded * lambda + g * into * input;
          dRate[rateAt] = (dRate[rateAt] ?? 0) + faded * step;
          g *= decay;
        }
        dState[h + n] = g;
      }
    }
  },
});

/** The gradient of the composition: for devices whose memory loops on the host cannot reach. */
export function composedScanGrad(inputs: readonly Tensor[]): readonly Tensor[] {
  const [gOut, gState] = inputs.slice(6);
  if (!gOut || !gState) return [];
  return valueAndGrad((scanned: readonly Tensor[]) => {
    const [out, last] = composedScan(scanned);
    invariant(out && last, "a scan gives its output and its state");
    return out.mul(gOut).sum().add(last.mul(gState).sum());
  })(inputs.slice(0, 6)).grad;
}

interface ScanSizes {
  readonly B: number;
  readonly T: number;
  readonly I: number;
  readonly G: number;
  readonly N: number;
  /** N, or 1 where rates are shared. */
  readonly rateN: number;
}

export function scanSizes(inputs: readonly TensorType[]): ScanSizes {
  const [x, , rate, write] = inputs;
  const [B = 0, T = 0, I = 0] = x?.shape ?? [];
  const [, , G = 0, N = 0] = write?.shape ?? [];
  return { B, T, I, G, N, rateN: rate?.shape[1] ?? 1 };
}

/** Every channel of every row, and where its state begins. */
function* channelsOf({ B, I, N }: ScanSizes) {
  for (let b = 0; b < B; b++) {
    for (let i = 0; i < I; i++) yield { channel: { b, i }, h: (b * I + i) * N };
  }
}

/** Where token t of a channel lies in x, and where its group's row begins in write and read. */
function placeOf({ T, I, G, N }: ScanSizes, { b, i }: { readonly b: number; readonly i: number }, t: number) {
  const group = Math.floor((i * G) / I);
  return { at: (b * T + t) * I + i, row: ((b * T + t) * G + group) * N };
}

function checkScan(inputs: readonly TensorType[]): { x: TensorType; state: TensorType } {
  const [x, delta, rate, write, read, state] = inputs;
  if (!x || !delta || !rate || !write || !read || !state) throw misfit(inputs);
  const { B, T, I, G, N, rateN } = scanSizes(inputs);
  const isShape = (type: TensorType, shape: readonly number[]) =>
    type.shape.length === shape.length && shape.every((extent, axis) => extent === type.shape[axis]);
  const fits =
    isShape(delta, [B, T, I]) &&
    isShape(x, [B, T, I]) &&
    isShape(rate, [I, rateN]) &&
    (rateN === N || rateN === 1) &&
    isShape(write, [B, T, G, N]) &&
    isShape(read, [B, T, G, N]) &&
    isShape(state, [B, I, N]) &&
    G > 0 &&
    I % G === 0;
  if (!fits) throw misfit(inputs);
  if (inputs.some(({ dtype }) => dtype !== x.dtype) || (x.dtype !== "f32" && x.dtype !== "f64")) {
    const got = inputs.map(({ dtype }) => dtype).join(", ");
    const message = `selectiveScan: all tensors must be of one dtype, f32 or f64; got ${got}. Cast them to f32.`;
    throw new HeddleError("dtype", message, { dtypes: inputs.map(({ dtype }) => dtype) });
  }
  return { x, state };
}

function misfit(inputs: readonly TensorType[]): HeddleError {
  const names = ["x", "delta", "rate", "write", "read", "state"];
  const got = inputs.map(({ shape }, at) => `${names[at]} [${shape.join(", ")}]`).join(", ");
  const message = `selectiveScan: x and delta must be [B, T, I], rate [I, N] or [I, 1], write and read [B, T, G, N] with I a multiple of G, state [B, I, N]; got ${got}. Reshape them.`;
  return new HeddleError("shape", message, { shapes: inputs.map(({ shape }) => shape) });
}
