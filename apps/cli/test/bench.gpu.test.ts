import { webgpu } from "@heddle/gpu";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildCli, type Cli } from "./cli.js";

const reason = await webgpu().then(
  (device) => {
    device.dispose();
    return "";
  },
  (error: unknown) => String(error),
);
const place: { cli?: Cli } = {};
beforeAll(async () => {
  if (reason === "") place.cli = await buildCli();
});
afterAll(() => place.cli?.dispose());

test.skipIf(reason !== "")(`bench prints the device's own rates beside the model's ${reason}`, async () => {
  const size = ["--shape", "4m", "--only", "decode", "--repeats", "1", "--context", "2"];
  const found = await place.cli?.run(["bench", "--device", "webgpu", ...size]);
  expect(found?.code).toBe(0);
  expect(found?.out).toMatch(
    /webgpu device.*\ncopy \d+ GB\/s; one row x 4096x4096 f16 \d+ GB\/s \(\d+ % of the copy\)\n1024x1024x1024: f32 [\d.]+ TFLOP\/s, f16 [\d.]+ TFLOP\/s\ndecode +[\d.]+ tokens\/s/,
  );
});
