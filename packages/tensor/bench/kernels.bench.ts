/**
 * Memory traffic of the CPU kernels on one thread, in GB/s, beside a plain copy measured in the same round.
 *
 * Run: `npx tsup bench/kernels.bench.ts --no-config --silent --format esm --out-dir node_modules/.cache/bench &&
 * node node_modules/.cache/bench/kernels.bench.js` in this package.
 */
import { cpus, loadavg } from "node:os";
import { performance } from "node:perf_hooks";
import { compileModule } from "../src/cpu/engine.js";
import { detectFeatures } from "../src/cpu/features.js";
import type { LoweredKernel } from "../src/cpu/kernel.js";
import { argmaxKernel } from "../src/cpu/kernels/argmax.js";
import { copyKernel } from "../src/cpu/kernels/copy.js";
import { crossEntropyGradKernel, crossEntropyKernel } from "../src/cpu/kernels/cross-entropy.js";
import { elementwiseKernel } from "../src/cpu/kernels/elementwise.js";
import { layerNormGradKernel, layerNormKernel } from "../src/cpu/kernels/layer-norm.js";
import { randomKernel } from "../src/cpu/kernels/random.js";
import { reduceKernel } from "../src/cpu/kernels/reduce.js";
import { rmsNormKernel } from "../src/cpu/kernels/rms-norm.js";
import { softmaxGradKernel, softmaxKernel } from "../src/cpu/kernels/softmax.js";
import { takeGradKernel, takeKernel } from "../src/cpu/kernels/take.js";
import { topKKernel } from "../src/cpu/kernels/top-k.js";
import type { Expression, ExpressionNode } from "../src/expression.js";
import type { Combine } from "../src/op-forms.js";

const features = {
  ...detectFeatures(),
  sharedMemory: false,
  ...(process.env.NARROW ? { revectorized: false } : process.env.WIDE ? { revectorized: true } : {}),
};
const dtype = "f32" as const;
/** The big size spills every cache, the small one stays in the second level. */
const sizes = { memory: [4096, 2048], cache: [48, 1024] } as const;
const memory = new WebAssembly.Memory({ initial: 4096 });
/** Each buffer has a slot of its own, not a multiple of 4 KiB apart, so that caches treat them as strangers. */
const slotBytes = 33 * 2 ** 20 + 4160;
const firstSlot = 65536;
const scratchSlot = 6;
const slot = (index: number) => firstSlot + index * slotBytes;

interface Case {
  readonly name: string;
  readonly kernel: LoweredKernel | undefined;
  /** Bytes that must cross between registers and memory at least. */
  readonly bytes: number;
}

const input = (index: number): ExpressionNode => ({ op: "input", index, dtype });
const call = (op: string, ...args: number[]) => ({ op, args, dtype }) as ExpressionNode;
const constant = (value: number): ExpressionNode => ({ op: "constant", value, dtype });
const program = (...nodes: ExpressionNode[]): Expression => ({ nodes, outputs: [nodes.length - 1] });
const gelu = program(
  input(0),
  call("square", 0),
  constant(0.044715),
  call("mul", 1, 2),
  constant(1),
  call("add", 3, 4),
  call("mul", 0, 5),
  constant(0.79788456),
  call("mul", 6, 7),
  call("tanh", 8),
  call("add", 9, 4),
  call("mul", 0, 10),
  constant(0.5),
  call("mul", 11, 12),
);

function casesOf([rows, columns]: readonly [number, number]): Case[] {
  const shape = [rows, columns];
  const full = rows * columns * 4;
  const rowShape = { rows, columns, dtype };
  const x = { dtype, shape };
  const elementwise = (name: string, expression: Expression, others: readonly number[][] = []): Case => ({
    name,
    kernel: elementwiseKernel(
      expression,
      { inputs: [x, ...others.map((s) => ({ dtype, shape: s }))], shape },
      features,
    ),
    bytes: full * (2 + others.filter((s) => s.length === 2 && s[1] === columns).length),
  });
  const reduce = (combine: Combine, axes: number[]): Case => ({
    name: `${combine} over ${axes}`,
    kernel: reduceKernel({ prologue: program(input(0)), combine, axes }, [x], features),
    bytes: full,
  });
  const transposed = {
    input: 0,
    shape: [columns, rows],
    inputOffset: 0,
    inputStrides: [1, columns],
    outputOffset: 0,
    outputStrides: [rows, 1],
  };
  const norm = { ...rowShape, eps: 1e-5, hasWeight: true, hasBias: true, offset: 0 };
  const loss = { ...rowShape, ignoreIndex: -100, labelSmoothing: 0 };
  const table = { outer: 1, extent: rows, inner: columns, count: rows, dtype };
  return [
    elementwise("x + y", program(input(0), input(1), call("add", 0, 1)), [shape]),
    elementwise("x + row", program(input(0), input(1), call("add", 0, 1)), [[columns]]),
    elementwise("x + column", program(input(0), input(1), call("add", 0, 1)), [[rows, 1]]),
    ...["exp", "tanh", "erf", "log", "sigmoid", "sin"].map((op) =>
      elementwise(op, program(input(0), call(op, 0))),
    ),
    elementwise("gelu", gelu),
    reduce("sum", [0, 1]),
    reduce("sum", [1]),
    reduce("sum", [0]),
    reduce("max", [1]),
    reduce("max", [0]),
    {
      name: "argmax",
      kernel: argmaxKernel("max", { outer: rows, extent: columns, inner: 1, dtype }, features),
      bytes: full,
    },
    {
      name: "transpose",
      kernel: copyKernel(
        { regions: [transposed] },
        { dtype, inputs: 1, outputElements: rows * columns },
        features,
      ),
      bytes: 2 * full,
    },
    { name: "softmax", kernel: softmaxKernel(rowShape, features), bytes: 2 * full },
    { name: "softmaxGrad", kernel: softmaxGradKernel(rowShape, features), bytes: 3 * full },
    { name: "layerNorm", kernel: layerNormKernel(norm, features), bytes: 2 * full },
    { name: "rmsNorm", kernel: rmsNormKernel(norm, features), bytes: 2 * full },
    { name: "layerNormGrad", kernel: layerNormGradKernel(norm, features), bytes: 3 * full },
    { name: "crossEntropy", kernel: crossEntropyKernel(loss, features), bytes: full },
    { name: "crossEntropyGrad", kernel: crossEntropyGradKernel(loss, features), bytes: 2 * full },
    { name: "take rows", kernel: takeKernel(table, features), bytes: 2 * full },
    { name: "take gradient", kernel: takeGradKernel(table, features), bytes: 3 * full },
    { name: "top 50", kernel: topKKernel({ ...rowShape, k: 50, largest: true }, features), bytes: full },
    {
      name: "uniform",
      kernel: randomKernel({ elements: rows * columns, stream: 0, kind: "uniform" }, features),
      bytes: full,
    },
  ];
}

/** A launch: every buffer gets a slot of its own, scratch the last. */
function launcher({ kernel }: Case): () => void {
  const calls = (kernel?.steps ?? []).map((step) => {
    const { run } = new WebAssembly.Instance(compileModule(step.module.emit()), { env: { memory } }).exports;
    const args = step.args.map((arg) =>
      arg.kind === "buffer"
        ? slot(arg.index)
        : arg.kind === "scratch"
          ? slot(scratchSlot) + arg.byteOffset
          : arg.value,
    );
    return () => (run as (...args: number[]) => void)(...args, 0, step.units);
  });
  return () => {
    for (const run of calls) run();
  };
}

function seconds(run: () => void, minSeconds: number): number {
  run();
  let best = Number.POSITIVE_INFINITY;
  const until = performance.now() + minSeconds * 1000;
  do {
    const start = performance.now();
    run();
    best = Math.min(best, performance.now() - start);
  } while (performance.now() < until);
  return best / 1000;
}

const only = process.argv[2];
console.log(`${cpus()[0]?.model}, load ${loadavg()[0]?.toFixed(2)}, Node ${process.version}`, features);
const floats = new Float32Array(memory.buffer);
for (const [where, size] of Object.entries(sizes)) {
  for (let i = 0; i < floats.length; i++) floats[i] = ((i * 7919) % 4001) / 1000 - 2;
  const bytes = size[0] * size[1] * 4;
  const heap = new Uint8Array(memory.buffer);
  const copy = () => heap.copyWithin(slot(1), slot(0), slot(0) + bytes);
  console.log(
    `\n${where}: ${size.join(" x ")} f32, copy ${((2 * bytes) / seconds(copy, 0.3) / 1e9).toFixed(1)} GB/s`,
  );
  for (const item of casesOf(size)) {
    if (only && !item.name.includes(only)) continue;
    if (/take|crossEntropy/.test(item.name)) {
      new Int32Array(memory.buffer, slot(1), size[0]).forEach((_, i, indices) => {
        indices[i] = (i * 31) % Math.min(...size);
      });
    }
    const time = seconds(launcher(item), 0.15);
    console.log(
      `${item.name.padEnd(18)} ${(item.bytes / time / 1e9).toFixed(1).padStart(6)} GB/s ${((time / (size[0] * size[1])) * 1e9).toFixed(3)} ns/element`,
    );
  }
}
