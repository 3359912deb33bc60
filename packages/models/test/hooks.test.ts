import { memorySource } from "@heddle/checkpoints";
import { arange, cpu, disposeTree, scope, type Tensor } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import type { TokenRows } from "../src/architecture.js";
import { findFamily } from "../src/families/registry.js";
import type { ActivationPoint, Activations, Inspection } from "../src/inspection/inspect.js";
import { caseRows, everyConfig, everyExpected, everyFiles, everyName } from "./every-golden.js";
import { holdModel } from "./held-model.js";
import { type HookedStack, hookedModels } from "./hooked-stacks.js";
import { madeConfigs, madeSource } from "./made-model.js";
import { relativeError } from "./relative-error.js";

/** Texts that every model can read: ChatGLM's hold a mark and a start. */
const texts = [
  [3, 17, 5, 8, 2],
  [6, 11, 9, 8, 21],
];

async function rowsOf(name: string): Promise<TokenRows> {
  const { frames, decoderIds = [] } = caseRows(await everyExpected(name), "basic");
  return frames === undefined ? { ids: texts, decoderIds: texts } : { ids: [], frames, decoderIds };
}

const models = [
  ...everyName.map((name) => ({
    name,
    json: everyConfig(name),
    source: async () => memorySource(everyFiles(name)),
    rows: () => rowsOf(name),
  })),
  ...Object.entries(madeConfigs).map(([name, json]) => ({
    name,
    json,
    source: () => madeSource(json),
    rows: async (): Promise<TokenRows> => ({ ids: texts }),
  })),
];

const pointsOf = (stack: HookedStack) => Object.keys(stack.shapesOf(0)) as ActivationPoint[];

/** What is read and replaced without another way to compute attention. */
const plainPointsOf = (stack: HookedStack) => pointsOf(stack).filter((point) => point !== "pattern");

async function valuesOf(logits: Tensor): Promise<number[]> {
  const values = Array.from(await logits.data());
  logits.dispose();
  return values;
}

/** Another value of the same shape: features, or the weights of keys, from a part of themselves to the whole. */
function tilted(x: Tensor): Tensor {
  const width = x.shape.at(-1) ?? 1;
  return x.mul(arange(x.device, width, { dtype: x.dtype }).add(1).div(width));
}

describe.each(models)("$name", ({ json, source, rows }) => {
  const architecture = findFamily(json.model_type).architecture.name;
  const use = holdModel(
    () => cpu({ threads: 1 }),
    async (device) => {
      const load = hookedModels[architecture];
      if (load === undefined) throw new Error(`no test looks into models of architecture ${architecture}`);
      const model = await load({ source: await source(), device, rows: await rows() });
      return { model };
    },
  );

  test("every point is read, finite and of its shape; the weights of attention sum to 1", async () => {
    const { model } = use();
    for (const stack of model.stacks) {
      const points = pointsOf(stack);
      const found = stack.read({ keep: points });
      for (const point of points) {
        const values = found[point] ?? [];
        const where = `${stack.name}: ${point}`;
        expect(values.length, where).toBe(stack.numLayers + (point === "residual" ? 1 : 0));
        for (const [layer, x] of values.entries()) {
          expect(x.shape, where).toEqual(stack.shapesOf(Math.min(layer, stack.numLayers - 1))[point]);
          expect(Array.from(await x.data()).every(Number.isFinite), where).toBe(true);
        }
      }
      for (const pattern of found.pattern ?? []) {
        const tolerance = pattern.dtype === "f32" ? 1e-5 : 1e-2;
        using sums = scope(pattern.device, () => pattern.cast("f32").sum({ axes: -1 }));
        for (const sum of await sums.data()) {
          // gpt-oss's sinks take the rest.
          if (json.model_type === "gpt_oss") expect(sum).toBeGreaterThan(0);
          else expect(sum, stack.name).toBeGreaterThan(1 - tolerance);
          expect(sum, stack.name).toBeLessThan(1 + tolerance);
        }
      }
      disposeTree(found);
    }
  });

  test("a value that is put back leaves every bit, another one changes the logits", async () => {
    const { model } = use();
    for (const stack of model.stacks) {
      const logitsOf = (inspection?: Inspection) => valuesOf(stack.logits(inspection));
      const plain = await logitsOf();
      expect(plain.every(Number.isFinite)).toBe(true);
      const expectReplaced = async (point: ActivationPoint, read: Activations, expected: number[]) => {
        const where = `${stack.name}: ${point}`;
        const again = await logitsOf({
          replace: { [point]: (_: Tensor, at: number) => read[point]?.[at]?.mul(1) },
        });
        expect(again, where).toEqual(expected);
        const first = (x: Tensor, layer: number) => (layer === 0 ? tilted(x) : undefined);
        const changed = await logitsOf({ replace: { [point]: first } });
        expect(changed.every(Number.isFinite), where).toBe(true);
        expect(relativeError(changed, expected), where).toBeGreaterThan(1e-6);
      };
      const read = stack.read({ keep: plainPointsOf(stack) });
      expect(await logitsOf({ keep: plainPointsOf(stack) })).toEqual(plain);
      for (const point of plainPointsOf(stack)) await expectReplaced(point, read, plain);
      disposeTree(read);
      if (!pointsOf(stack).includes("pattern")) continue;
      // Weights that are looked at are multiplied with the values one product later, which may round otherwise.
      const looked = await logitsOf({ keep: ["pattern"] });
      const isHalf = /16/.test(String(json.torch_dtype ?? json.dtype));
      expect(relativeError(looked, plain)).toBeLessThan(isHalf ? 2e-2 : 1e-5);
      const patterns = stack.read({ keep: ["pattern"] });
      await expectReplaced("pattern", patterns, looked);
      disposeTree(patterns);
    }
  });

  test("where nothing is asked for, every bit is the same and no buffer more is made", async () => {
    const { model, device } = use();
    for (const stack of model.stacks) {
      const runOf = async (inspection?: Inspection) => {
        const before = device.memory().allocations;
        const logits = stack.logits(inspection);
        const made = device.memory().allocations - before;
        return { made, values: await valuesOf(logits) };
      };
      const plain = await runOf();
      expect(plain.made).toBeGreaterThan(stack.numLayers);
      expect(await runOf({})).toEqual(plain);
      expect(await runOf({ replace: { attention: () => undefined } })).toEqual(plain);
      const kept = await runOf({ keep: plainPointsOf(stack) });
      expect(kept).toEqual(plain);
    }
  });
});
