import { createRequire } from "node:module";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type BrowserPage, openSourcePage } from "./page.ts";

const root = join(import.meta.dirname, "../..");
const gpuJsBundle = createRequire(join(root, "packages/gpu/package.json")).resolve(
  "gpu.js/dist/gpu-browser.js",
);

let opened: BrowserPage;
beforeAll(async () => {
  opened = await openSourcePage({ hasWebGpu: true });
});
afterAll(() => opened[Symbol.asyncDispose]());

test("every op agrees with the float64 reference in a page, with its gradient", async () => {
  const found = await opened.page.evaluate(async () => {
    const { webgpu } = await window.load("@heddle/gpu");
    const { reference } = await window.load("@heddle/tensor");
    const { conformanceCases, largestDifference, outcomeOf } = await window.load(
      "packages/tensor/test/conformance.ts",
    );
    const device = await webgpu();
    const failed: string[] = [];
    for (const example of conformanceCases) {
      const expected = await outcomeOf(reference(), example, "eager");
      const actual = await outcomeOf(device, example, "compiled");
      const pairs = [[actual.value, expected.value]].concat(
        actual.grads.map((grad: number[], i: number) => [grad, expected.grads[i]]),
      );
      if (!pairs.every(([a, b]) => largestDifference(a, b) <= 1e-4)) failed.push(example.name);
    }
    const kind = device.kind;
    device.dispose();
    return { failed, count: conformanceCases.length, kind };
  });
  expect(found.failed).toEqual([]);
  expect(found.kind).toBe("webgpu");
  expect(found.count).toBeGreaterThan(300);
  expect(opened.errors).toEqual([]);
});

/** Generates with the model of the repository's own files; runs in a page and, as text, in a worker. */
const generateStory = `async (load, base) => {
  const { fetchSource } = await load("@heddle/checkpoints");
  const { generate, loadModel } = await load("@heddle/models");
  const devices = [(await load("@heddle/gpu")).webgpu(), (await load("@heddle/tensor")).cpu({ threads: 1 })];
  const { modelFiles } = await load("@heddle/tiny-stories");
  const source = await fetchSource(base + "packages/tiny-stories/model/", { files: modelFiles });
  const texts = [];
  for (const device of await Promise.all(devices)) {
    const model = await loadModel(source, { device });
    let text = "";
    const options = { temperature: 0, maxTokens: 4, ignoreEos: true };
    for await (const piece of generate(model, "Once upon a time", options)) text += piece.text;
    model.dispose();
    texts.push(text);
    device.dispose();
  }
  return texts;
}`;

test("the small model writes the same story on the GPU as on the CPU, in a page", async () => {
  const [onGpu, onCpu] = await opened.page.evaluate(async (source) => {
    const run = new Function(`return ${source}`)();
    return run(window.load, new URL("/", location.href).href);
  }, generateStory);
  expect(onGpu).toBe(onCpu);
  expect(onGpu?.length).toBeGreaterThan(10);
  expect(opened.errors).toEqual([]);
});

test("and in a worker, from the same static files", async () => {
  const [onGpu, onCpu] = await opened.page.evaluate((source) => {
    const text = `const base = ${JSON.stringify(new URL("/", location.href).href)};
const load = (name) => import(base + (name.startsWith("@") ? "@id/" + name : name));
(${source})(load, base).then((texts) => postMessage({ texts }), (error) => postMessage({ error: String(error) }));`;
    const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    const worker = new Worker(url, { type: "module" });
    return new Promise<string[]>((resolve, reject) => {
      worker.onmessage = ({ data }) => (data.texts ? resolve(data.texts) : reject(new Error(data.error)));
      worker.onerror = (event) => reject(new Error(event.message));
    });
  }, generateStory);
  expect(onGpu).toBe(onCpu);
  expect(onGpu?.length).toBeGreaterThan(10);
});

test("a kernel of one's own trains in a page, by gpu.js", async () => {
  await opened.page.addScriptTag({ path: gpuJsBundle });
  const found = await opened.page.evaluate(async () => {
    const { webgpu } = await window.load("@heddle/gpu");
    const { cpu } = await window.load("@heddle/tensor");
    const { trainWithCustomActivation } = await window.load("packages/gpu/examples/custom-activation.ts");
    // The script makes the module a global named GPU.
    const { GPU } = window as unknown as { GPU: { GPU?: unknown } };
    const gpuJs = GPU.GPU === undefined ? (window as unknown as { GPUjs: unknown }).GPUjs : GPU;
    const results = [];
    for (const device of [await webgpu(), cpu({ threads: 1 })]) {
      results.push(await trainWithCustomActivation(device, gpuJs));
      device.dispose();
    }
    return results;
  });
  const [onGpu, onCpu] = found;
  expect(onGpu?.executedOn).toBe("wgsl");
  expect(onCpu?.executedOn).toMatch(/^gpu\.js (webgl2?|headlessgl|webasm|cpu)$/);
  for (const run of found) expect(run.last).toBeLessThan(run.first / 2);
  expect(onGpu?.last).toBeCloseTo(onCpu?.last ?? Number.NaN, 2);
});
