import { createHash } from "node:crypto";
import { reference } from "@heddle/tensor";
import { expect, test } from "vitest";
import { randomBlocks } from "../test/random-blocks.js";
import { PANEL_LAYOUT_VERSION, partNames, quantBlockTypes, quantFromBlocks } from "./index.js";

/** SHA-256 of the tensors of one weight of every type. */
async function digestOfPanels(): Promise<string> {
  const device = reference();
  const hash = createHash("sha256");
  for (const type of quantBlockTypes) {
    using weight = quantFromBlocks(device, type, randomBlocks(type, 17 * 256, 1), [17, 256]);
    for (const name of partNames) hash.update((await weight.parts[name]?.bytes()) ?? new Uint8Array());
  }
  return hash.digest("hex").slice(0, 16);
}

// No number to be right or wrong: files hold packed weights, so that a layout that differs must not have the version of this one.
test("the bytes of packed weights are those of their version; where they have changed, PANEL_LAYOUT_VERSION must rise", async () => {
  expect({ [PANEL_LAYOUT_VERSION]: await digestOfPanels() }).toMatchInlineSnapshot(`
    {
      "1": "6a5ebbdb0ee5eefe",
    }
  `);
});
