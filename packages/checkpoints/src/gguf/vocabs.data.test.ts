import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { HeddleError } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { directorySource } from "../node/directory.js";
import { openGguf } from "./open-gguf.js";

/**
 * These copies were passed through a text decoder once: each byte that is not UTF-8 became U+FFFD, three bytes. They
 * show what a reader meets in the wild: a file that begins well and is shifted from some field on.
 */
const folder = join(process.env.HEDDLE_DATA ?? "", "tokenizer/llama.cpp-vocabs");
const files = readdirSync(folder).filter((name) => name.endsWith(".gguf"));

test("there are files", () => expect(files.length).toBe(4));

describe.each(files)("%s, damaged by a text decoder,", (file) => {
  test("is refused with the place", async () => {
    const firstDamage = readFileSync(join(folder, file)).indexOf(Buffer.from("\ufffd"));
    expect(firstDamage).toBeGreaterThan(24);
    const error = await openGguf(directorySource(folder), file).catch((error: unknown) => error);
    if (!HeddleError.is(error)) throw new Error("was not refused");
    expect([error.code, error.details]).toMatchObject(["format", { file, byte: expect.any(Number) }]);
    expect(error.details.byte).toBeGreaterThan(firstDamage);
  });
});
