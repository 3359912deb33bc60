import { expect, test } from "vitest";
import { loadGpuJs, modeOf } from "../src/gpu-js/module.js";

// What Heddle relies on inside gpu.js. A new release that changes it fails here first.

const gpuJs = await loadGpuJs();

function translate(
  source: string,
  output: readonly number[],
  args: readonly (object | number)[],
  settings = {},
) {
  const kernel = new gpuJs.WebGPUKernel(source, { ...settings, output });
  kernel._buildAsync = () => Promise.resolve();
  kernel.build(...args);
  return kernel;
}

const row = { type: "WebGPUBuffer", output: [8] };

test("build() writes the WGSL before it asks for a device, and asks by _buildAsync alone", () => {
  const kernel = translate("function (x, b) { return x[this.thread.x] * b; }", [8], [row, 0.5]);
  expect(kernel.compiledSource).toContain("fn main(");
  expect(kernel.componentCount).toBe(1);
  expect(kernel.workgroupSize).toEqual([64, 1, 1]);
});

test("bindings: uniforms first, then the arrays in order, then the result", () => {
  const { compiledSource } = translate(
    "function (x, y) { return x[this.thread.x] - y[this.thread.x]; }",
    [8],
    [row, row],
  );
  const bindings = [...compiledSource.matchAll(/@group\(0\) @binding\((\d)\) var<([^>]+)> (\w+)/g)].map(
    ([, at, space, name]) => `${at} ${space} ${name}`,
  );
  expect(bindings).toEqual([
    "0 uniform params",
    "1 storage, read user_x",
    "2 storage, read user_y",
    "3 storage, read_write result",
  ]);
});

test("uniforms: the output's extents and the width of a fold, [x, y, z, size] of each array, then the numbers", () => {
  const { paramsLayout } = translate(
    "function (x, b, y, c) { return x[0] * b + y[0] * c; }",
    [8],
    [row, 0.5, row, 0.5],
  );
  expect(paramsLayout.arrayArgs.map(({ index, dimsOffset }) => [index, dimsOffset])).toEqual([
    [0, 16],
    [2, 32],
  ]);
  expect(paramsLayout.scalarArgs.map(({ index, offset, type }) => [index, offset, type])).toEqual([
    [1, 48, "Float"],
    [3, 52, "Float"],
  ]);
  expect(paramsLayout).toMatchObject({ byteLength: 64, bufferConstants: [], randomSeedOffset: null });
});

test("two axes run in workgroups of 8 x 8, and arrays are read x fastest", () => {
  const { compiledSource, workgroupSize } = translate(
    "function (x) { return x[this.thread.y][this.thread.x]; }",
    [4, 2],
    [{ type: "WebGPUBuffer", output: [4, 2] }],
  );
  expect(workgroupSize).toEqual([8, 8, 1]);
  expect(compiledSource).toContain("x + i32(params.user_x_dims.x) * (y + i32(params.user_x_dims.y) * z)");
});

test("loops without a constant bound end after 1,000 turns unless loopMaxIterations says otherwise", () => {
  const source = "function (x, n) { let s = 0; for (let i = 0; i < n; i++) { s += x[0]; } return s; }";
  expect(translate(source, [8], [row, 0.5]).compiledSource).toContain("const LOOP_MAX : i32 = 1000;");
  const settings = { loopMaxIterations: 5000 };
  expect(translate(source, [8], [row, 0.5], settings).compiledSource).toContain(
    "const LOOP_MAX : i32 = 5000;",
  );
});

test("without WebGPU its kernels answer at once", () => {
  const instance = new gpuJs.GPU({});
  const kernel = instance.createKernel("function (x) { return x[this.thread.x] + 1; }", { output: [2] });
  expect(["webasm", "headlessgl", "cpu"]).toContain(modeOf(gpuJs, instance));
  expect(kernel(new gpuJs.Input(new Float32Array([1, 2]), [2]))).toEqual(new Float32Array([2, 3]));
});
