import { expect, test } from "vitest";
import { lossCurveSvg } from "./loss-curve.js";

test("losses lie inside the frame, lower ones lower, on axes with round numbers", () => {
  const losses = Array.from({ length: 200 }, (_, at) => ({ step: at + 1, loss: 8 * Math.exp(-at / 60) + 1 }));
  const svg = lossCurveSvg(losses, { title: 'a < "b"', heldOut: [{ step: 100, loss: 2.6 }] });
  expect(svg).toContain("a &lt; &quot;b&quot;");
  const raw = /class="raw" d="([^"]*)"/.exec(svg)?.[1] ?? "";
  const points = raw
    .split(/[ML]/)
    .slice(1)
    .map((pair) => pair.split(" ").map(Number));
  expect(points.length).toBe(200);
  for (const [at, [x = 0, y = 0]] of points.entries()) {
    expect(x).toBeGreaterThanOrEqual(56);
    expect(x).toBeLessThanOrEqual(744);
    expect(y).toBeGreaterThanOrEqual(40);
    expect(y).toBeLessThanOrEqual(376);
    if (at > 0) expect(y).toBeGreaterThanOrEqual(points[at - 1]?.[1] ?? 0);
  }
  const texts = [...svg.matchAll(/<text[^>]*>([^<]*)<\/text>/g)].map(([, text]) => text);
  expect(texts).toEqual(expect.arrayContaining(["2", "4", "6", "8", "50", "100", "150", "200"]));
  expect(svg.match(/<circle/g)?.length).toBe(1);
});

test("nothing, one point, and losses that are not numbers still give a picture", () => {
  for (const losses of [[], [{ step: 1, loss: 2 }], [{ step: 1, loss: Number.NaN }]]) {
    expect(lossCurveSvg(losses)).not.toMatch(/NaN|Infinity/);
  }
});
