import { alibi } from "@heddle/positional-encodings";
import { randn, reference } from "@heddle/tensor";
import { expect, test } from "vitest";
import { attentionMaps, heatMapSvg, heatMaps } from "./heat-map.js";
import { causal } from "./masks.js";

const device = reference();

test("attention maps are the weights of each head, with the tokens beside them", async () => {
  const query = randn(device, [1, 2, 3, 4], { seed: 1 });
  const key = randn(device, [1, 1, 5, 4], { seed: 2 });
  const before = device.memory().buffers;
  const maps = await attentionMaps(query, key, { mask: causal(), labels: ["a", "b", "<c>", "d\n", "e"] });
  expect(device.memory().buffers).toBe(before);
  expect(maps.map(({ title, rows, columns }) => [title, rows, columns])).toEqual([
    ["head 0", 3, 5],
    ["head 1", 3, 5],
  ]);
  expect(maps[0]?.rowLabels).toEqual(["<c>", "d\n", "e"]);
  for (const { values } of maps) {
    for (let row = 0; row < 3; row++) {
      const weights = Array.from(values.subarray(row * 5, row * 5 + 5));
      expect(weights.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 6);
      expect(weights.slice(3 + row).every((weight) => weight === 0)).toBe(true);
    }
  }
  const svg = heatMapSvg(maps[0] as (typeof maps)[0]);
  expect(svg.match(/<rect/g)).toHaveLength(15);
  expect(svg).toContain("&lt;c&gt;");
  expect(svg).not.toContain("d\n<");
});

test("position kernels are maps, too; what is not finite stays blank", async () => {
  const bias = alibi(device, { numHeads: 2 }).bias({ queryLen: 4, keyLen: 4 });
  const [first] = await heatMaps(bias, { title: "ALiBi head" });
  expect(first?.title).toBe("ALiBi head 0");
  const values = Float32Array.of(0, 1, Number.NaN, Number.NEGATIVE_INFINITY);
  const svg = heatMapSvg({ title: "t", rows: 2, columns: 2, values });
  expect(svg.match(/fill="(#\w+)"/g)).toEqual(['fill="#440154"', 'fill="#fde725"']); // least and greatest
});

test("cells with texts are wide enough to read them, and light on dark", () => {
  const values = Float32Array.of(0, 1);
  const map = { title: "t", rows: 1, columns: 2, values, cellLabels: ["<a>", "a very long word"] };
  const svg = heatMapSvg(map);
  expect(svg.match(/width="60"/g)).toHaveLength(2); // three times the height of 20
  expect(svg).toMatch(/fill="#fff"[^>]*>&lt;a&gt;</);
  expect(svg).toMatch(/fill="#000"[^>]*>a very …</);
  expect(svg).toContain("<title>[0, 1] a very long word 1.000</title>");
});

test("writing follows the light or dark scheme, and never touches the page around it", () => {
  const map = { title: "t", rows: 1, columns: 2, values: Float32Array.of(0, 1), columnLabels: ["a", "b"] };
  const svg = heatMapSvg(map);
  expect(svg).toMatch(/^<svg [^>]*fill="currentColor"/);
  expect(svg).toContain("<style>svg:root{color-scheme:light dark;color:CanvasText}</style>");
  for (const text of svg.match(/<text[^>]*>/g) ?? []) expect(text).not.toContain("fill=");
});

test("large maps are averaged down and their equal cells joined", async () => {
  const values = Float32Array.from({ length: 600 * 600 }, (_, at) => (at % 600 <= at / 600 ? 1 : 0));
  const svg = heatMapSvg({ title: "causal", rows: 600, columns: 600, values }, { maxCells: 100 });
  expect(svg.match(/<rect/g)?.length).toBeLessThan(400);
});

test("errors name the rule, the values and the cure", () => {
  const map = { title: "t", rows: 2, columns: 2, values: new Float32Array(3) };
  expect(() => heatMapSvg(map)).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: heatMapSvg: a map must have rows x columns values; got 2 x 2 and 3 values. Make it with heatMaps.]`,
  );
  expect(() =>
    heatMapSvg({ ...map, values: new Float32Array(4) }, { cellSize: 0 }),
  ).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: heatMapSvg: cellSize must be a number above 0; got cellSize 0. Leave it out for the default.]`,
  );
});
