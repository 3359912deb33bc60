import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import createWabt from "wabt";

/** The text of a module in a file's comment, and the digits below it. */
function readModule(file: string): { readonly text: string; readonly digits: string } {
  const source = readFileSync(new URL(file, import.meta.url), "utf8");
  const [, comment = "", code = ""] =
    /^ \* (\(module\n[\s\S]*?)^ \*\/\nconst \w+ =([^;]*);/m.exec(source) ?? [];
  return { text: comment.replace(/^ \* ?/gm, ""), digits: code.replace(/[^0-9a-f]/g, "") };
}

test.each(["./formats/bpe-reader.ts", "./formats/word-check.ts"])(
  "the digits in %s are the module that its comment says",
  async (file) => {
    const { text, digits } = readModule(file);
    const { parseWat } = await createWabt();
    const module = parseWat(file, text, { simd: true });
    const { buffer } = module.toBinary({});
    module.destroy();
    expect(digits).toBe(Buffer.from(buffer).toString("hex"));
  },
);
