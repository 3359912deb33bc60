import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildCli, type Cli } from "./cli.js";

const place: { cli?: Cli } = {};
const run = (args: readonly string[], input?: string) => {
  if (place.cli === undefined) throw new Error("the program was not built");
  return place.cli.run(args, input);
};

beforeAll(async () => {
  place.cli = await buildCli();
});
afterAll(() => place.cli?.dispose());

const goldens = fileURLToPath(new URL("../../../packages/models/test/golden/", import.meta.url));

describe("describe", () => {
  test("sizes and costs from a config.json alone", async () => {
    const { code, out } = await run([
      "describe",
      "--config",
      join(goldens, "llama", "config.json"),
      "--json",
    ]);
    expect(code).toBe(0);
    const { family, parameters, kvBytesPerToken } = JSON.parse(out);
    // Embedding and unembedding, two layers of attention, feed-forward and norms, the last norm.
    const layer = 32 * (32 + 16 + 16) + 32 * 32 + 3 * 32 * 40 + 2 * 32;
    expect({ family, parameters }).toEqual({ family: "llama", parameters: 2 * 72 * 32 + 2 * layer + 32 });
    expect(kvBytesPerToken).toBe(2 * 2 * 2 * 8 * 2);
  });

  test("as a table; without a file it says what to name", async () => {
    const { out } = await run(["describe", "--model", join(goldens, "llama")]);
    expect(out).toContain("llama (decoder)");
    expect(out).toMatch(/^keys and values +128 B a token/m);
    const { code, errors } = await run(["describe"]);
    expect(code).not.toBe(0);
    expect(errors).toContain("one of --model and --config must be given");
  });
});
