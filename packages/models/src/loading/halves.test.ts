import { memorySink, memorySource } from "@heddle/checkpoints";
import { cpu, flattenTree, Tensor } from "@heddle/tensor";
import { afterAll, describe, expect, test } from "vitest";
import { caseRows, everyExpected, everyFiles, everyName } from "../../test/every-golden.js";
import { type AnyModel, loadAnyModel } from "./load-model.js";
import { saveModel } from "./save-model.js";

const device = cpu({ threads: 2 });
afterAll(() => device.dispose());

/** The files of a golden model with weights rounded to half floats. */
async function halfFiles(name: string, dtype: "f16" | "bf16"): Promise<Record<string, Uint8Array>> {
  const files = everyFiles(name);
  const model = await loadAnyModel(memorySource(files), { device, dtype });
  const sink = memorySink();
  await saveModel(sink, model);
  model.dispose();
  return { ...files, ...sink.files };
}

function dtypesOf({ weights }: AnyModel): ReadonlySet<string> {
  return new Set(flattenTree(weights).leaves.flatMap((leaf) => (leaf instanceof Tensor ? leaf.dtype : [])));
}

describe.each(everyName)("%s", (name) => {
  test("half-precision matrices stay so on the CPU, and give the logits of widened ones bit for bit", async () => {
    const rows = caseRows(await everyExpected(name), "basic");
    for (const dtype of ["f16", "bf16"] as const) {
      const source = memorySource(await halfFiles(name, dtype));
      const seen: number[][] = [];
      for (const options of [{}, { dtype: "f32" }] as const) {
        const model = await loadAnyModel(source, { device, ...options });
        expect(dtypesOf(model)).toEqual(new Set(options.dtype === undefined ? [dtype, "f32"] : ["f32"]));
        const logits = model.logits(rows);
        seen.push([...(await logits.data())].map(Number));
        logits.dispose();
        model.dispose();
      }
      expect(seen[0]).toEqual(seen[1]);
      expect(device.memory().buffers).toBe(0);
    }
  });
});
