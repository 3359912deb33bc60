// Times ways to cut a matrix product into tiles on this machine's GPU, each compared with float64 sums at some places
// first: `tilings [half|fast] [f16] [f32] [rows]`. To choose the tilings of the tensor package's kernels by.
import { fork } from "node:child_process";
import type { WebGpuDevice } from "@heddle/gpu";
import type { WgslKernel } from "@heddle/tensor/kernel";
import type { MatmulCall } from "../../../packages/tensor/src/wgsl/kernels/matmul-call.ts";
import { subgroupMatmulWgsl } from "../../../packages/tensor/src/wgsl/kernels/matmul-subgroups.ts";
import { registerTilingOf, tiledMatmulStep } from "../../../packages/tensor/src/wgsl/kernels/matmul-tiled.ts";
import type { Tiling } from "../../../packages/tensor/src/wgsl/kernels/matrix-tiles.ts";
import type { RegisterTiling } from "../../../packages/tensor/src/wgsl/kernels/register-tiles.ts";
import { describeDevice, openDevice } from "./parts/open-device.ts";
import { createRunner } from "./parts/run-kernel.ts";

interface Variant {
  readonly name: string;
  make(call: MatmulCall, device: WebGpuDevice): WgslKernel | undefined;
}

const words = process.argv.slice(2);
const large: Tiling = {
  rows: 128,
  columns: 128,
  depth: 32,
  partRows: 64,
  partColumns: 64,
  padding: 8,
  band: 16,
};
const tilings: Readonly<Record<string, Tiling>> = {
  "depth 64": { ...large, depth: 64 },
  "128x128x32 4 of 64x64": large,
  "depth 64, padding 16": { ...large, depth: 64, padding: 16 },
  "depth 64, band 32": { ...large, depth: 64, band: 32 },
};
const low = { rows: 32, band: 1, padding: 8, partRows: 32 } as const;
/** For 32 rows. */
const lowTilings: Readonly<Record<string, Tiling>> = {
  "32x64x64 4 of 32x16": { ...low, columns: 64, partColumns: 16, depth: 64 },
  "32x64x128 4 of 32x16": { ...low, columns: 64, partColumns: 16, depth: 128 },
  "32x32x128 2 of 32x16": { ...low, columns: 32, partColumns: 16, depth: 128 },
  "32x32x256 2 of 32x16": { ...low, columns: 32, partColumns: 16, depth: 256 },
  "32x128x64 4 of 32x32": { ...low, columns: 128, partColumns: 32, depth: 64 },
  "32x16x256 2 of 16x16": { ...low, columns: 16, partRows: 16, partColumns: 16, depth: 256 },
};
const onMatrixUnits = (named: Readonly<Record<string, Tiling>>): Variant[] =>
  Object.entries(named).map(([name, tiling]) => ({
    name,
    make: (call, { features }) => subgroupMatmulWgsl(call, features, tiling),
  }));
// The kernel's own choices for many and for few outputs, and others beside them.
const [registers, small] = [registerTilingOf(4096, 4096), registerTilingOf(64, 64)];
const inRegisters = (tiling: RegisterTiling): Variant => ({
  name: `${tiling.rows}x${tiling.columns}x${tiling.depth} of ${tiling.threadRows}x${tiling.threadColumns}`,
  make: (call) => ({ steps: [tiledMatmulStep(call, tiling)] }),
});
const half = onMatrixUnits(tilings);
const single = [registers, small, { ...small, threadRows: 8 }, { ...registers, threadRows: 16 }].map(
  inRegisters,
);
const fewRows = onMatrixUnits(lowTilings);

const transposeB = true;
const works = [
  {
    name: "f16",
    variants: half,
    dtype: "f16",
    shapes: [
      { M: 4096, N: 4096, K: 4096, transposeB },
      { M: 4096, N: 4096, K: 4096, transposeB: false },
      { M: 2048, N: 16384, K: 2048, transposeB },
    ],
  },
  {
    name: "f32",
    variants: single,
    dtype: "f32",
    shapes: [
      { M: 4096, N: 4096, K: 4096, transposeB },
      { M: 1024, N: 1024, K: 1024, transposeB },
    ],
  },
  {
    name: "rows",
    variants: fewRows,
    dtype: "f16",
    shapes: [
      { M: 32, N: 16384, K: 2048, transposeB },
      { M: 32, N: 2048, K: 8192, transposeB },
    ],
  },
] as const;
/** Of all shapes but the first only these many variants. */
const manyOthers = 8;
const jobs = works.flatMap(({ name: work, variants, dtype, shapes }) =>
  words.some((word) => works.some(({ name }) => name === word)) && !words.includes(work)
    ? []
    : shapes.flatMap((shape, i) =>
        variants
          .slice(0, i === 0 ? undefined : manyOthers)
          .map((variant) => ({ work, dtype, shape, variant })),
      ),
);

if (process.send === undefined) await superviseAll();
else await runFrom(Number(process.env.FIRST_JOB));

/** Runs the jobs in a process of their own that is begun anew behind a job that hangs. */
async function superviseAll(): Promise<void> {
  let first = 0;
  while (first < jobs.length) first = await supervise(first);
}

/** Resolves with the number of the next job. */
function supervise(first: number): Promise<number> {
  const [script, ...args] = process.argv.slice(1);
  const child = fork(script ?? "", args, { env: { ...process.env, FIRST_JOB: String(first) } });
  let next = first;
  return new Promise((resolve) => {
    const giveUp = () => {
      console.log(` ${jobs[next]?.variant.name}: hangs`);
      child.kill("SIGKILL");
      resolve(next + 1);
    };
    let timer = setTimeout(giveUp, 12_000);
    child.on("message", () => {
      next++;
      clearTimeout(timer);
      timer = setTimeout(giveUp, 5_000);
    });
    child.on("exit", (code) => {
      clearTimeout(timer);
      if (code !== null) resolve(code === 0 ? jobs.length : next + 1);
    });
  });
}

async function runFrom(first: number): Promise<void> {
  const device = await openDevice(words);
  if (first === 0) console.log(describeDevice(device));
  let [last, run]: [object | undefined, ReturnType<typeof createRunner> | undefined] = [undefined, undefined];
  for (const { dtype, shape, variant } of jobs.slice(first)) {
    const call: MatmulCall = {
      ...shape,
      transposeA: false,
      batch: [],
      batchStridesA: [],
      batchStridesB: [],
      dtypes: { a: dtype, b: dtype, c: dtype },
    };
    if (shape !== last || run === undefined) {
      console.log(
        `${shape.M} x ${shape.N} over ${shape.K} ${dtype}, b ${shape.transposeB ? "[N, K]" : "[K, N]"}`,
      );
      run?.dispose();
      run = createRunner(device, call);
      last = shape;
    }
    const kernel = variant.make(call, device);
    console.log(
      ` ${variant.name}: ${kernel === undefined ? "not for this adapter" : await run.time(kernel)}`,
    );
    process.send?.("done");
  }
  run?.dispose();
  device.dispose();
  process.disconnect();
}
