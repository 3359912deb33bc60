// How fast f32 weights are quantised to GGUF types: on the CPU device, and by the plain twin, in turns.
//   pnpm bench:quantise [--threads 2] [--rounds 5] [--millions 4]
import { parseArgs } from "node:util";
import { median } from "./process.mjs";
import { importSource } from "./sources.mjs";

const { values: options } = parseArgs({
  options: {
    threads: { type: "string", default: "2" },
    rounds: { type: "string", default: "5" },
    millions: { type: "string", default: "4" },
  },
});
const { cpu, quantize, quantizeOn } = await importSource("./quantise-sources.ts");
const device = cpu({ threads: Number(options.threads) });
const count = Number(options.millions) * 2 ** 20;
const weights = Float32Array.from({ length: count }, (_, i) => Math.sin(i * i * 1e-3) * (1 + (i % 7)));
/** The twin is slow: it gets a part. */
const part = weights.subarray(0, 2 ** 18);

/** Megabytes of f32 a second of time, and of processor time. */
async function speedOf(values, run) {
  const [start, before] = [performance.now(), process.cpuUsage()];
  await run(values);
  const ms = performance.now() - start;
  const { user, system } = process.cpuUsage(before);
  return { wall: values.byteLength / ms / 1e3, processor: values.byteLength / (user + system) };
}

for (const type of ["Q8_0", "Q4_0", "Q4_K", "Q6_K"]) {
  const onDevice = (values) => quantizeOn(device, type, values);
  const twin = (values) => quantize(type, values);
  await onDevice(part);
  await twin(part);
  const seen = { device: [], twin: [] };
  for (let i = 0; i < Number(options.rounds); i++) {
    seen.device.push(await speedOf(weights, onDevice));
    seen.twin.push(await speedOf(part, twin));
  }
  const of = (who, key) => median(seen[who].map((each) => each[key]));
  const ratio = median(seen.device.map(({ wall }, i) => wall / seen.twin[i].wall));
  console.log(
    `${type}: ${of("device", "wall").toFixed(1)} MB/s of f32 (${of("device", "processor").toFixed(1)} a second of processor time), twin ${of("twin", "wall").toFixed(1)} (${of("twin", "processor").toFixed(1)}), ratio ${ratio.toFixed(1)}`,
  );
}
device.dispose();
