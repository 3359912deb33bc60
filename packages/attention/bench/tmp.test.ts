import { test } from "vitest";
import v8 from "node:v8";
import { flashForwardWasm } from "../src/kernels/flash-forward.wasm.ts";
import { assemble, i32 } from "@heddle/tensor/kernel";
import { emitTileMatmul, matmulRegisters } from "../src/kernels/tile-matmul.ts";
test("bench", () => {
  const revectorized = process.env.REVEC === "1";
  if (revectorized) v8.setFlagsFromString("--experimental-wasm-revectorize");
  const features = { relaxedSimd: true, revectorized, sharedMemory: false, threads: 1 };
  const memory = new WebAssembly.Memory({ initial: 4000 });
  const fl = new Float32Array(memory.buffer);
  for (let i = 0; i < 8e6; i++) fl[i] = Math.sin(i * 12.9898) ;
  // pure tile matmul rate
  {
    const bytes = assemble({ sharedMemory: false }, (f) => {
      const [rows, depth, n] = [f.param("i32"), f.param("i32"), f.param("i32")];
      const r = matmulRegisters(f, features);
      f.for(0, n, 1, () => emitTileMatmul(f, r, { a: { address: i32.const(0), rowBytes: 256, columnBytes: 4 }, b: { address: i32.const(65536), rowBytes: 192 }, c: { address: i32.const(131072), rowBytes: 192 }, rows, depth, columns: 48, accumulates: false }));
    });
    const { run } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } }).exports as any;
    for (let k = 0; k < 5; k++) { const t = performance.now(); run(48, 64, 20000); console.log("tile matmul GF/s", (2 * 48 * 64 * 48 * 20000) / (performance.now() - t) / 1e6); }
  }
  const H = 8, T = 2048, D = 64;
  const shape = { shape: [1, H, T, D], dtype: "f32" as const };
  for (const right of [undefined, 0]) {
    const kernel = flashForwardWasm({ op: { name: "x", infer: () => [] }, params: { scale: 0.125, right, hasKeyMask: false, hasBias: false, hasSinks: false }, inputs: [shape, shape, shape], outputs: [] }, features)!;
    const n = H * T * D * 4;
    const step = kernel.steps[1]!;
    const bytes = step.module.emit();
    console.log("module bytes", bytes.length);
    const { run } = new WebAssembly.Instance(new WebAssembly.Module(bytes as any), { env: { memory } }).exports as any;
    for (let k = 0; k < 6; k++) {
      const t = performance.now();
      run(64, 64 + n, 64 + 2 * n, 64 + 3 * n, 64 + 4 * n, 64 + 5 * n, 0, step.units);
      const ms = performance.now() - t;
      console.log(right, ms.toFixed(1), "ms", ((4 * H * T * T * D * (right === 0 ? 0.5 : 1)) / ms / 1e6).toFixed(1), "GF/s");
    }
  }
}, 100000);
