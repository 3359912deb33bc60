import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createEngine, type Engine } from "@heddle/serve";
import { type AppOptions, createApp } from "@heddle/serve/http";
import { listen, readPage } from "@heddle/serve/node";
import { build } from "vite";
import { createStoryDecoder, storyEndIds, storyModel } from "./fake-story.js";

/** The built page behind a server with a fake model. */
export interface StudioServer {
  readonly url: string;
  readonly engine: Engine;
  close(): Promise<void>;
}

/** Builds the page as it is shipped and serves it on a free port. */
export async function startStudio(options: Partial<AppOptions> = {}): Promise<StudioServer> {
  const folder = await mkdtemp(join(tmpdir(), "heddle-studio-"));
  await build({
    root: join(import.meta.dirname, ".."),
    logLevel: "error",
    build: { outDir: folder, emptyOutDir: true },
  });
  const page = await readPage(folder);
  const { tokenizer } = storyModel;
  const engine = createEngine({ decoder: createStoryDecoder(), tokenizer, endOfTextIds: storyEndIds });
  const server = await listen(createApp({ engine, model: storyModel, page, ...options }), { port: 0 });
  return {
    url: server.url,
    engine,
    async close() {
      await server.close({ timeoutMs: 200 });
      await rm(folder, { recursive: true });
    },
  };
}
