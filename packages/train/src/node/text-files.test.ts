import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { TextDocument, TextSource } from "../data/text-source.js";
import { textFiles } from "./text-files.js";

const place = { directory: "" };
beforeAll(() => {
  place.directory = mkdtempSync(join(tmpdir(), "heddle-text-"));
});
afterAll(() => rmSync(place.directory, { recursive: true }));

function write(name: string, content: string): string {
  const path = join(place.directory, name);
  writeFileSync(path, content);
  return path;
}

async function list(source: TextSource, after?: TextDocument["place"]): Promise<TextDocument[]> {
  const found: TextDocument[] = [];
  for await (const document of source.documents(after)) found.push(document);
  return found;
}

test("documents lie between separators, over several files, trimmed; each can be read again", async () => {
  const files = [
    write("a.txt", "\uFEFFone\r\nmore<|end|>\n\ntwo é<|end|>\n  \n<|end|>three\n"),
    write("b.txt", "four<|end|>"),
    write("c.txt", ""),
  ];
  const source = textFiles(files, { separator: "<|end|>" });
  const documents = await list(source);
  expect(documents.map(({ text }) => text)).toEqual(["one\nmore", "two é", "three", "four"]);
  for (const [at, document] of documents.entries()) {
    expect(await source.read(document.place)).toBe(document.text);
    expect(await list(source, document.place)).toEqual(documents.slice(at + 1));
  }
  expect((await list(textFiles(files))).map(({ text }) => text.length)).toEqual([45, 11]);
});

test("a separator may be cut by the pieces that a file is read in", async () => {
  const stories = Array.from({ length: 3000 }, (_, at) => `story ${at}${"x".repeat(at % 400)}`);
  const source = textFiles([write("long.txt", stories.join("\n<|endoftext|>\n"))], {
    separator: "<|endoftext|>",
  });
  expect((await list(source)).map(({ text }) => text)).toEqual(stories);
});

test("errors", async () => {
  expect(() => textFiles([], { separator: "" })).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: textFiles: separator must have characters; got "". Leave it out for one document a file.]`,
  );
  await expect(list(textFiles(["missing.txt"]))).rejects.toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: textFiles: the file must be readable; got "missing.txt" (ENOENT: no such file or directory, open 'missing.txt'). Check the path.]`,
  );
});
