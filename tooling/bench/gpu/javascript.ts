// Measures the JavaScript of a decode step, without a GPU: `javascript [f16|int8|int4] [joined] [--layers N] [--tiny] [--steps N] [list]`. Dawn's
// null backend takes every call and runs nothing, so that time goes into JavaScript and the calls alone. Beside it stands the
// least that the same dispatches can cost: the bare calls, over the same pipelines and bind groups, in turns in the same process.
import { createRequire } from "node:module";
import { type WebGpuDevice, webgpu } from "@heddle/gpu";
import { createDecoder, type DecoderConfig, type DecoderWeights } from "@heddle/models";
import { partTypes, quantFromParts } from "@heddle/quant";
import { fromDeviceBuffer, sizeOf, type Tensor, type TensorType } from "@heddle/tensor";
import { buildWeights } from "../../../packages/models/src/weights.ts";
import { type Format, wantedModels } from "./parts/llama-shape.ts";
import { median } from "./parts/median.ts";
import { fileLayout } from "./parts/random-quant.ts";
import { type RecordedCall, recordCalls } from "./parts/record-calls.ts";
import { withoutMemory } from "./parts/without-memory.ts";

const words = process.argv.slice(2);
const { config, formats } = wantedModels(words);
const stepsAt = words.indexOf("--steps");
const steps = stepsAt < 0 ? 256 : Number(words[stepsAt + 1]);
const rounds = 9;
const prompt = 256;
const dawn = createRequire(import.meta.url)("webgpu") as {
  create(options: string[]): { requestAdapter(): Promise<object> };
};
// As on a card with `dawnToggles.fast`.
const toggles = "allow_unsafe_apis,disable_robustness,disable_workgroup_init,skip_validation";
const keep = dawn.create(["backend=null", `enable-dawn-features=${toggles}`]);
for (const format of formats) await measure(format);
if (keep === undefined) throw new Error("the object that create() returns must stay referenced");

async function measure(format: Format): Promise<void> {
  const device = await webgpu({
    adapter: withoutMemory(await keep.requestAdapter()),
    joinsSteps: words.includes("joined"),
  });
  const decoder = createDecoder(
    { config, weights: emptyWeights(device, config, format), device },
    { numSlots: 1, maxSeqLen: 1024 },
  );
  const decode = async (count: number) => {
    const options = { slot: 0, token: 1, position: prompt, steps: count, temperature: 0 };
    for await (const _token of decoder.ahead?.(options) ?? []);
  };
  await decode(steps);
  const recording = recordCalls(device);
  await decode(8);
  const calls = recording.stop();
  const step = lastStep(calls);
  const [whole, bare, encoding] = [[], [], []] as [number[], number[], number[]];
  for (let round = 0; round < rounds; round++) {
    whole.push(await microseconds(() => decode(steps)));
    bare.push(await microseconds(async () => bareSteps(device, step)));
    encoding.push(await microseconds(async () => bareSteps(device, step, { isSubmitted: false })));
  }
  const changes = step.filter((call, i) => call.pipeline !== step[i - 1]?.pipeline).length;
  const [us, least, calling] = [median(whole), median(bare), median(encoding)];
  console.log(
    `${format}: ${us.toFixed(0)} us of JavaScript a token, ${step.length} dispatches (${changes} changes of pipeline); the bare calls ${least.toFixed(0)} us (${calling.toFixed(0)} before submission), ratio ${(us / least).toFixed(2)}`,
  );
  if (words.includes("list")) for (const line of kindsOf(step)) console.log(`  ${line}`);
  decoder.dispose();
  device.dispose();
}

/** How many dispatches of each kind, by the op's name and the grid. */
function kindsOf(step: readonly RecordedCall[]): string[] {
  const names = step.map(
    ({ pipeline, grid }) => `${(pipeline as { label?: string }).label} ${grid.join("x")}`,
  );
  return [...new Set(names)].map((name) => `${names.filter((other) => other === name).length} x ${name}`);
}

/** Microseconds a step. */
async function microseconds(run: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await run();
  return ((performance.now() - start) * 1000) / steps;
}

/** The dispatches from one that begins a step to the next such. */
function lastStep(calls: readonly RecordedCall[]): readonly RecordedCall[] {
  const last = calls.at(-1);
  const ends = calls.flatMap((call, i) => (call.group === last?.group ? [i] : []));
  const [before, end] = ends.slice(-2);
  if (before === undefined || end === undefined) throw new Error("a step was recorded less than twice");
  return calls.slice(before + 1, end + 1);
}

/** The same dispatches with nothing around them, submitted in the same portions as the device does. */
function bareSteps(
  { native }: WebGpuDevice,
  calls: readonly RecordedCall[],
  { isSubmitted = true } = {},
): void {
  const perSubmission = Math.max(1, Math.ceil(256 / calls.length));
  for (let done = 0; done < steps; done += perSubmission) {
    const encoder = native.createCommandEncoder();
    const pass = encoder.beginComputePass();
    let pipeline: object | undefined;
    for (let i = 0; i < Math.min(perSubmission, steps - done); i++) {
      for (const call of calls) {
        if (call.pipeline !== pipeline) {
          pipeline = call.pipeline;
          pass.setPipeline(pipeline);
        }
        pass.setBindGroup(0, call.group);
        const [x, y, z] = call.grid;
        if (y === 1 && z === 1) pass.dispatchWorkgroups(x);
        else pass.dispatchWorkgroups(x, y, z);
      }
    }
    pass.end();
    const commands = encoder.finish();
    if (isSubmitted) native.queue.submit([commands]);
  }
}

/** Weights that are nothing but buffers: no run reads them. */
function emptyWeights(device: WebGpuDevice, of: DecoderConfig, format: Format): DecoderWeights {
  const empty = (type: TensorType) => {
    const bytes = sizeOf(type.shape) * { f32: 4, f16: 2, u8: 1 }[type.dtype as "f32" | "f16" | "u8"];
    return fromDeviceBuffer(device, type, device.alloc(bytes));
  };
  return buildWeights(of, (_path, shape) => {
    if (format === "f16") return empty({ shape, dtype: "f16" });
    if (shape.length === 1) return empty({ shape, dtype: "f32" });
    const [outFeatures = 0, inFeatures = 0] = shape;
    const layout = fileLayout(format === "int4" ? 4 : 8, { outFeatures, inFeatures });
    const { codes, scales } = partTypes(layout);
    if (codes === undefined || scales === undefined) throw new Error("a weight has codes and scales");
    const parts = { codes: empty(codes), scales: empty(scales) };
    return quantFromParts(layout, parts) as unknown as Tensor;
  });
}
