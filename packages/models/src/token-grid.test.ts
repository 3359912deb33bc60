import { memorySource } from "@heddle/checkpoints";
import { reference } from "@heddle/tensor";
import { expect, test } from "vitest";
import { everyFiles } from "../test/every-golden.js";
import { madeConfigs, madeFiles } from "../test/made-model.js";
import type { TokenRows } from "./architecture.js";
import { loadAnyModel } from "./loading/load-model.js";

const ids = [[3, 17, 5, 8, 2]];
const short = [[0, 1, 1, 1]];
const square = { data: new Float32Array(16), shape: [1, 5, 5] };

test.each<readonly [string, () => Promise<Readonly<Record<string, Uint8Array>>>, readonly TokenRows[]]>([
  ["llama", async () => everyFiles("llama"), [{ ids, attentionMask: short }]],
  [
    "ChatGLM",
    () => madeFiles(madeConfigs.ChatGLM ?? {}),
    [{ ids: [[3, 17, 2, 8, 2]] }, { ids: [[3, 17, 5, 2, 2]] }, { ids, attentionMask: short }],
  ],
  [
    "bert",
    async () => everyFiles("bert"),
    [
      { ids, attentionMask: short },
      { ids, tokenTypeIds: short },
    ],
  ],
  ["mamba", async () => everyFiles("mamba"), [{ ids, attentionMask: short }]],
  [
    "xlnet",
    async () => everyFiles("xlnet"),
    [
      { ids, attentionMask: short },
      { ids, hidden: square },
    ],
  ],
  [
    "bart",
    async () => everyFiles("bart"),
    [
      { ids, attentionMask: short },
      { ids, decoderIds: ids, decoderAttentionMask: short },
    ],
  ],
])("%s: rows that are refused leave nothing on the device", async (_, files, refused) => {
  const device = reference();
  const model = await loadAnyModel(memorySource(await files()), { device });
  const before = device.memory().buffers;
  for (const rows of refused) {
    expect(() => model.logits(rows)).toThrow(/must/);
    expect(device.memory().buffers).toBe(before);
  }
  model.logits({ ids }).dispose();
  model.dispose();
  expect(device.memory().buffers).toBe(0);
});
