import { existsSync } from "node:fs";
import { join } from "node:path";
import { webgpu } from "@heddle/gpu";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildCli, type Cli } from "./cli.js";

const stories = join(process.env.HEDDLE_DATA ?? "", "models", "stories260K", "hf");

const reason = await webgpu().then(
  (device) => {
    device.dispose();
    return existsSync(stories) ? "" : `HEDDLE_DATA has no ${stories}`;
  },
  (error: unknown) => String(error),
);
const place: { cli?: Cli } = {};
beforeAll(async () => {
  if (reason === "") place.cli = await buildCli();
});
afterAll(() => place.cli?.dispose());

const generated = async (device: string): Promise<unknown> => {
  const model = ["--model", stories, "--temperature", "0", "--max-tokens", "30"];
  const args = ["generate", ...model, "--prompt", "Once upon a time", "--device", device, "--json"];
  const { code, out, errors } = (await place.cli?.run(args)) ?? { code: 1, out: "", errors: "not built" };
  expect({ code, errors }).toEqual({ code: 0, errors: "" });
  const { text, ids } = JSON.parse(out);
  return { text, ids };
};

const named = (name: string) => (reason === "" ? name : `${name}: ${reason}`);

test.skipIf(reason !== "")(named("generate gives the text of the cpu device on webgpu"), async () => {
  expect(await generated("webgpu")).toEqual(await generated("cpu"));
});

test.skipIf(reason !== "")(named("doctor names the adapter"), async () => {
  const { out } = (await place.cli?.run(["doctor", "--json"])) ?? { out: "{}" };
  expect(JSON.parse(out).webgpuDevice.maxTensorBytes).toBeGreaterThan(2 ** 20);
});
