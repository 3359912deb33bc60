import { describe, expect, test } from "vitest";
import { type GoldenArray, goldenArray, readGolden } from "../../test/golden/read.ts";
import { plainFeatures, runKernel } from "../../test/run-kernel.ts";
import { flashForwardWasm } from "./flash-forward.wasm.js";
import type { FlashParams } from "../flash-params.js";
const op = { name: "flash", infer: () => [] };
test.each(["mha", "mha_causal", "gqa_causal","mqa_causal","cross","decode","chunked_prefill","mla_dims","odd_dims","large_logits", "softcap", "sliding_window", "sinks_window", "bias_batched", "cross_padded", "causal_padded"])("%s", (name) => {
  const index = JSON.parse(require("node:fs").readFileSync(new URL("../../test/golden/index.json", import.meta.url), "utf8"));
  const c = index.cases[name];
  const g = readGolden(`${name}.safetensors`);
  const [q, k, v] = ["q", "k", "v"].map((n) => goldenArray(g, n)) as GoldenArray[];
  const params: FlashParams = { scale: c.scale ?? 1 / Math.sqrt(c.shape.D), softcap: c.softcap ?? undefined,
    right: c.causal ? 0 : undefined, left: c.window === null ? undefined : c.window - 1,
    hasKeyMask: g.has("key_mask"), hasBias: g.has("bias"), hasSinks: g.has("sinks") };
  const extra = [];
  if (g.has("key_mask")) { const m = goldenArray(g, "key_mask"); extra.push({ shape: m.shape, data: Uint8Array.from(m.data) }); }
  if (g.has("bias")) extra.push(goldenArray(g, "bias"));
  if (g.has("sinks")) extra.push(goldenArray(g, "sinks"));
  const type = (x: { shape: readonly number[] }) => ({ shape: x.shape, dtype: "f32" as const });
  for (const features of [plainFeatures, { ...plainFeatures, relaxedSimd: true, revectorized: true }]) {
    const out = new Float32Array(goldenArray(g, "out").data.length);
    const lse = new Float32Array(goldenArray(g, "lse").data.length);
    const kernel = flashForwardWasm({ op, params, inputs: [q, k, v, ...extra].map(type), outputs: [] }, features)!;
    runKernel(kernel, [q.data, k.data, v.data, ...extra.map((x) => x.data), out, lse] as never);
    let worst = 0, worstL = 0;
    out.forEach((x, i) => { worst = Math.max(worst, Math.abs(x - goldenArray(g, "out").data[i]!)); });
    lse.forEach((x, i) => { worstL = Math.max(worstL, Math.abs(x - goldenArray(g, "lse").data[i]!)); });
    console.log(name, worst, worstL);
    expect(worst).toBeLessThan(1e-5);
    expect(worstL).toBeLessThan(1e-5);
  }
});
import { flashBackwardWasm } from "./flash-backward.wasm.js";
test.each(["mha", "mha_causal", "gqa_causal","mqa_causal","cross","decode","chunked_prefill","mla_dims","odd_dims","large_logits", "softcap", "sliding_window", "sinks_window", "bias_batched", "cross_padded", "causal_padded"])("backward %s", (name) => {
  const index = JSON.parse(require("node:fs").readFileSync(new URL("../../test/golden/index.json", import.meta.url), "utf8"));
  const c = index.cases[name];
  const g = readGolden(`${name}.safetensors`);
  const [q, k, v] = ["q", "k", "v"].map((n) => goldenArray(g, n)) as GoldenArray[];
  const extra: any[] = [];
  if (g.has("key_mask")) { const m = goldenArray(g, "key_mask"); extra.push({ shape: m.shape, data: Uint8Array.from(m.data) }); }
  if (g.has("bias")) extra.push(goldenArray(g, "bias"));
  const lse = goldenArray(g, "lse"), out = goldenArray(g, "out").data, dOut = goldenArray(g, "d_out");
  const Dv = c.shape.Dv;
  const delta = { shape: lse.shape, data: lse.data.map((_, r) => { let s = 0; for (let i = 0; i < Dv; i++) s += out[r * Dv + i]! * dOut.data[r * Dv + i]!; return s; }) };
  extra.push(lse, delta, dOut);
  const type = (x: { shape: readonly number[] }) => ({ shape: x.shape, dtype: "f32" as const });
  for (const features of [plainFeatures, { ...plainFeatures, relaxedSimd: true, revectorized: true, threads: 20 }]) {
    const params = { scale: c.scale ?? 1 / Math.sqrt(c.shape.D), softcap: c.softcap ?? undefined,
      right: c.causal ? 0 : undefined, left: c.window === null ? undefined : c.window - 1,
      hasKeyMask: g.has("key_mask"), hasBias: g.has("bias"), hasSinks: false, wantsBias: g.has("bias") };
    const names = ["q", "k", "v", ...(g.has("bias") ? ["bias"] : [])];
    const grads = names.map((n) => new Float32Array(goldenArray(g, "d_" + n).data.length));
    const kernel = flashBackwardWasm({ op, params, inputs: [q, k, v, ...extra].map(type), outputs: [] }, features)!;
    runKernel(kernel, [q.data, k.data, v.data, ...extra.map((x) => x.data), ...grads] as never);
    names.forEach((n, a) => {
      let worst = 0;
      grads[a]!.forEach((x, i) => { worst = Math.max(worst, Math.abs(x - goldenArray(g, "d_" + n).data[i]!)); });
      console.log(name, n, worst);
      expect(worst).toBeLessThan(2e-5);
    });
  }
});
