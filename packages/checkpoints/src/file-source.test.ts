import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HeddleError } from "@heddle/tensor";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fetchSource } from "./fetch-source.js";
import { blobSource, type FileSource, memorySource, readFile, readJson, readText } from "./file-source.js";
import { directorySource } from "./node/directory.js";

const content = new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]);
const folder = mkdtempSync(join(tmpdir(), "heddle-source-"));
const requests: string[] = [];
const server = createServer((request, response) => {
  const range = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? "");
  requests.push(`${request.method} ${request.url} ${request.headers.range ?? "-"}`);
  if (request.url === "/plain/config.json") {
    response.writeHead(200, { "content-length": content.length });
    response.end(request.method === "HEAD" ? undefined : content);
  } else if (request.url !== "/config.json") response.writeHead(404).end();
  else if (range === null) response.writeHead(200, { "content-length": content.length }).end();
  else response.writeHead(206).end(content.slice(Number(range[1]), Number(range[2]) + 1));
});

beforeAll(async () => {
  writeFileSync(join(folder, "config.json"), content);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});
afterAll(() => {
  server.close();
  rmSync(folder, { recursive: true });
});

const address = () => `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;

const makers: Record<string, () => Promise<FileSource>> = {
  memory: async () => memorySource({ "config.json": content }),
  blobs: async () => blobSource({ "config.json": new Blob([content]) }),
  files: async () => blobSource([new File([content], "config.json")]),
  directory: async () => directorySource(folder),
  "web server": async () => fetchSource(address()),
  "web server without ranges": async () => fetchSource(`${address()}plain`),
};

describe.each(Object.entries(makers))("a source over %s", (_, make) => {
  test("lists, measures and reads ranges", async () => {
    const source = await make();
    expect(source.list()).toEqual(["config.json"]);
    expect(await source.size("config.json")).toBe(8);
    expect(await source.read("config.json", 2, 5)).toEqual(new Uint8Array([3, 4, 5]));
    expect(await source.read("config.json", 5, 5)).toEqual(new Uint8Array(0));
    expect(await readFile(source, "config.json")).toEqual(content);
  });

  test("says that a file is missing", async () => {
    const source = await make();
    const error = await source.size("other.json").catch((thrown: unknown) => thrown);
    expect(HeddleError.is(error) && error.code).toBe("format");
    expect(String(error)).toContain("other.json");
  });
});

test("a web source asks for the range and no more", async () => {
  const source = await fetchSource(address(), { files: ["config.json"] });
  requests.length = 0;
  await source.read("config.json", 2, 5);
  expect(requests).toEqual(["GET /config.json bytes=2-4"]);
});

test("the text of a missing file, of bad UTF-8 and of bad JSON", async () => {
  const source = memorySource({ "a.json": new Uint8Array([0xff]), "b.json": new TextEncoder().encode("{") });
  const texts = await Promise.all(
    [source.size("c.json"), readText(source, "a.json"), readJson(source, "b.json")].map((promise) =>
      promise.catch((error: Error) => error.message),
    ),
  );
  expect(texts).toMatchInlineSnapshot(`
    [
      "FileSource: the file must exist; got "c.json", there is a.json, b.json. Check the folder and the name.",
      "safetensors: a text file must be UTF-8; got file "a.json". Save it as UTF-8.",
      "safetensors: a JSON file must parse; got file "b.json", Expected property name or '}' in JSON at position 1 (line 1 column 2). Mend or copy the file.",
    ]
  `);
});
