import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { readPage } from "./page-files.js";

it("reads a folder into paths, types and lifetimes", async () => {
  const folder = await mkdtemp(join(tmpdir(), "heddle-page-"));
  await mkdir(join(folder, "assets"));
  await writeFile(join(folder, "index.html"), "<!doctype html>");
  await writeFile(join(folder, "assets", "a-1.js"), "1");
  await writeFile(join(folder, "odd.xyz"), "?");
  const page = await readPage(folder);
  const facts = [...page].map(([path, { contentType, isImmutable, body }]) => [
    path,
    contentType,
    isImmutable,
    body.length,
  ]);
  expect(facts.sort()).toEqual([
    ["/assets/a-1.js", "text/javascript; charset=utf-8", true, 1],
    ["/index.html", "text/html; charset=utf-8", false, 15],
    ["/odd.xyz", "application/octet-stream", false, 1],
  ]);
  await rm(folder, { recursive: true });
});
