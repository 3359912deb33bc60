import { heatMapSvg } from "@heddle/attention";
import { disposeTree, tensor } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { devices } from "../../test/devices.js";
import { goldenSource } from "../../test/golden-model.js";
import { loadModel } from "../loading/load-model.js";
import { lensHeatMap } from "./lens-heat-map.js";
import { logitLens, readLogitLens } from "./logit-lens.js";

const ids = [5, 9, 3, 7];

describe.each(devices)("$name", ({ make }) => {
  test.each(["llama", "gemma2"])(
    "%s: cells are softmax, order and entropy of each layer's logits",
    async (name) => {
      const device = make();
      const model = await loadModel(goldenSource(name), { device });
      const before = device.memory().buffers;
      const cells = await readLogitLens(model, ids, { top: 3 });
      expect(device.memory().buffers).toBe(before);
      const ids_BT = tensor(device, Int32Array.from(ids), { shape: [1, ids.length] });
      const layers = logitLens(model.config, model.weights, { ids: ids_BT });
      expect(cells).toHaveLength(model.config.numLayers + 1);
      for (const [layer, logits] of layers.entries()) {
        const values = Array.from(await logits.data());
        for (const position of ids.keys()) {
          const { vocabSize } = model.config;
          const row = values.slice(position * vocabSize, (position + 1) * vocabSize);
          const greatest = Math.max(...row);
          const weights = row.map((value) => Math.exp(value - greatest));
          const total = weights.reduce((sum, weight) => sum + weight, 0);
          const ranked = weights
            .map((weight, id) => ({ id, probability: weight / total }))
            .sort((a, b) => b.probability - a.probability);
          const cell = cells[layer]?.[position];
          expect(cell?.top.map(({ id }) => id)).toEqual(ranked.slice(0, 3).map(({ id }) => id));
          for (const [rank, { probability }] of (cell?.top ?? []).entries())
            expect(probability).toBeCloseTo(ranked[rank]?.probability ?? Number.NaN, 5);
          const entropy = ranked.reduce(
            (sum, { probability: p }) => sum - (p === 0 ? 0 : p * Math.log(p)),
            0,
          );
          expect(cell?.entropy).toBeCloseTo(entropy, 4);
        }
      }
      disposeTree([ids_BT, layers]);
      model.dispose();
      device.dispose();
    },
  );
});

test("a lens is a matrix to be looked at, the last layer on top", () => {
  const cell = (id: number, probability: number, entropy: number) => ({
    entropy,
    top: [{ id, probability }],
  });
  const cells = [
    [cell(1, 0.25, 3), cell(2, 0.5, 2)],
    [cell(3, 0.75, 1), cell(4, 1, 0)],
  ];
  const map = lensHeatMap(cells, { labels: ["a", "b"], tokenText: (id) => `<${id}>` });
  expect(map).toEqual({
    title: "logit lens: likeliest token, its probability",
    rows: 2,
    columns: 2,
    values: Float32Array.of(0.75, 1, 0.25, 0.5),
    cellLabels: ["<3>", "<4>", "<1>", "<2>"],
    rowLabels: ["layer 0", "embedding"],
    columnLabels: ["a", "b"],
  });
  expect(Array.from(lensHeatMap(cells, { shade: "entropy" }).values)).toEqual([1, 0, 3, 2]);
  const svg = heatMapSvg(map);
  expect(svg.match(/<rect/g)).toHaveLength(4);
  expect(svg).toContain(">&lt;3&gt;</text>");
  expect(svg).toContain("<title>[0, 0] &lt;3&gt; 0.7500</title>");
});

test("errors name the rule, the values and the cure", async () => {
  const make = devices[0]?.make;
  if (make === undefined) throw new Error("there is a device");
  const device = make();
  const model = await loadModel(goldenSource("llama"), { device });
  await expect(readLogitLens(model, [])).rejects.toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: readLogitLens: there must be a token, and top must be a whole number >= 1; got 0 ids, top 5. Pass the ids of a text.]`,
  );
  await expect(readLogitLens(model, [1], { top: 0 })).rejects.toThrow("got 1 ids, top 0");
  model.dispose();
  device.dispose();
});
