import { readFileSync } from "node:fs";
import { cpu, reference } from "@heddle/tensor";
import { expect, test } from "vitest";
import { openModel } from "../node/index.js";
import { generate } from "./generate.js";

const data = process.env.HEDDLE_DATA ?? "";
const folder = `${data}/models/stories260K`;

/** The text that the original program printed at temperature 0, as the checkpoint's page shows it. */
function goldenText(): string {
  const page = readFileSync(`${folder}/stories260K.md`, "utf8");
  const match = /-t 0\.0\n([\s\S]*?)\n```/.exec(page);
  if (match?.[1] === undefined) throw new Error("the page shows no greedy text");
  return match[1];
}

test.each([
  ["reference", () => reference()],
  ["cpu", () => cpu()],
] as const)(
  "stories260K on %s tells its golden story for 200 tokens",
  { timeout: 300_000 },
  async (_, make) => {
    const device = make();
    const model = await openModel(`${folder}/hf`, { device });
    let text = "";
    let count = 0;
    for await (const token of generate(model, "", { temperature: 0, maxTokens: 200 })) {
      text += token.text;
      count++;
    }
    expect(count).toBe(200);
    expect(text.length).toBeGreaterThan(400);
    expect(goldenText().startsWith(text)).toBe(true);
    model.dispose();
    device.dispose();
  },
);
