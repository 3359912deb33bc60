import { readdir, readFile } from "node:fs/promises";
import { extname, join, sep } from "node:path";
import type { Page, PageAsset } from "../http/page.js";

const contentTypes: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".ico": "image/x-icon",
  ".json": "application/json",
  ".txt": "text/plain; charset=utf-8",
  ".woff2": "font/woff2",
};

/** Reads a folder of built files into memory, for `createApp({ page })`. Files in `assets/` count as immutable. */
export async function readPage(folder: string): Promise<Page> {
  const names = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = names.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const entries = files.map(async (file): Promise<[string, PageAsset]> => {
    const path = file.slice(folder.length).split(sep).filter(Boolean).join("/");
    const contentType = contentTypes[extname(file)] ?? "application/octet-stream";
    const body = new Uint8Array(await readFile(file));
    return [`/${path}`, { contentType, body, isImmutable: path.startsWith("assets/") }];
  });
  return new Map(await Promise.all(entries));
}
