import { type BufferUse, bufferAt, type WgslKernelFactory, wgslStep } from "@heddle/tensor/kernel";

const threads = 64;

/**
 * WGSL kernel of `wkvScan` for f32: a thread runs one channel of one row through time. Twin: the op's `evaluate`.
 *
 * Buffers: key, value, decay, bonus, state, then out and the last state.
 */
export const wkvScanWgsl: WgslKernelFactory<Record<string, never>> = ({ inputs: [key] }) => {
  const [B = 0, T = 0, I = 0] = key?.shape ?? [];
  if (key === undefined || key.dtype !== "f32") return undefined;
  const names = ["key", "value", "decay", "bonus", "state", "y", "last"];
  const buffers = names.map((name, index): BufferUse => {
    const access = index < 5 ? "read" : "write";
    return { name, memory: bufferAt(index), dtype: key.dtype, access };
  });
  const step = wgslStep({
    buffers,
    params: { channels: B * I, T, I },
    threads,
    groups: Math.ceil((B * I) / threads),
    // The average of a past and a token, whose exponents are kept relative to the greater one.
    declarations: `fn joined(past: vec3f, v: f32, e: f32) -> vec3f {
  let most = max(past.z, e);
  let old = exp(past.z - most);
  let fresh = exp(e - most);
  return vec3f(past.x * old + v * fresh, past.y * old + fresh, most);
}`,
    body: `  let channel = group * ${threads}u + thread;
  if (channel >= P.channels) { return; }
  let i = channel % P.I;
  let b = channel / P.I;
  let s = 3u * b * P.I + i;
  let w = load_decay(i);
  let u = load_bonus(i);
  var past = vec3f(load_state(s), load_state(s + P.I), load_state(s + 2u * P.I));
  for (var t = 0u; t < P.T; t++) {
    let at = (b * P.T + t) * P.I + i;
    let k = load_key(at);
    let v = load_value(at);
    let seen = joined(past, v, u + k);
    store_y(at, seen.x / seen.y);
    past = joined(vec3f(past.xy, past.z + w), v, k);
  }
  store_last(s, past.x);
  store_last(s + P.I, past.y);
  store_last(s + 2u * P.I, past.z);`,
  });
  return { steps: [step] };
};
