import { type BufferUse, bufferAt, type WgslKernelFactory, wgslStep } from "@heddle/tensor/kernel";

const threads = 64;
/** Most numbers of state that a thread keeps. */
const mostOwned = 32;

/**
 * WGSL kernel of `selectiveScan` for f32: up to 16 threads share the state of a channel and run it through time; each token's output
 * is added up among them. Twin: the op's `evaluate`.
 *
 * Buffers: x, delta, rate, write, read, state, then out and the last state.
 */
export const selectiveScanWgsl: WgslKernelFactory<Record<string, never>> = ({ inputs }) => {
  const [x, , rate, write] = inputs;
  const [B = 0, T = 0, I = 0] = x?.shape ?? [];
  const [, , G = 1, N = 0] = write?.shape ?? [];
  const rateN = rate?.shape[1] ?? 1;
  const lanes = Math.min(16, 2 ** Math.floor(Math.log2(Math.max(1, N))));
  const owned = Math.ceil(N / lanes);
  if (x === undefined || x.dtype !== "f32" || N === 0 || owned > mostOwned) return undefined;
  const names = ["x", "delta", "rate", "writes", "reads", "state", "y", "last"];
  const buffers = names.map((name, index): BufferUse => {
    const access = index < 6 ? "read" : "write";
    return { name, memory: bufferAt(index), dtype: x.dtype, access };
  });
  const step = wgslStep({
    buffers,
    params: { channels: B * I, T, I, G, N, rateN },
    threads,
    groups: Math.ceil((B * I * lanes) / threads),
    declarations: `var<workgroup> partial: array<f32, ${threads}>;`,
    body: `  let lane = thread % ${lanes}u;
  let channel = group * ${threads / lanes}u + thread / ${lanes}u;
  let isChannel = channel < P.channels;
  let i = channel % P.I;
  let b = channel / P.I;
  var h: array<f32, ${owned}>;
  for (var k = 0u; k < ${owned}u; k++) {
    let n = lane + k * ${lanes}u;
    if (isChannel && n < P.N) { h[k] = load_state(channel * P.N + n); }
  }
  for (var t = 0u; t < P.T; t++) {
    let at = (b * P.T + t) * P.I + i;
    var sum = 0.0;
    if (isChannel) {
      let row = ((b * P.T + t) * P.G + (i * P.G) / P.I) * P.N;
      let pace = load_delta(at);
      let entering = pace * load_x(at);
      for (var k = 0u; k < ${owned}u; k++) {
        let n = lane + k * ${lanes}u;
        if (n < P.N) {
          h[k] = exp(pace * load_rate(i * P.rateN + n % P.rateN)) * h[k] + entering * load_writes(row + n);
          sum += load_reads(row + n) * h[k];
        }
      }
    }
    partial[thread] = sum;
    workgroupBarrier();
    for (var half = ${Math.floor(lanes / 2)}u; half > 0u; half = half / 2u) {
      if (lane < half) { partial[thread] += partial[thread + half]; }
      workgroupBarrier();
    }
    if (isChannel && lane == 0u) { store_y(at, partial[thread]); }
    workgroupBarrier();
  }
  for (var k = 0u; k < ${owned}u; k++) {
    let n = lane + k * ${lanes}u;
    if (isChannel && n < P.N) { store_last(channel * P.N + n, h[k]); }
  }`,
  });
  return { steps: [step] };
};
