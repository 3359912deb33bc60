import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createEngine, type Engine } from "@heddle/serve";
import { type AppOptions, createApp } from "@heddle/serve/http";
import { listen, readPage } from "@heddle/serve/node";
import { build } from "vite";
import { sourceAlias } from "../../../tooling/vitest/source-alias.js";
import { createStoryDecoder, storyEndIds, storyModel } from "./fake-story.js";

/** The built page behind a server with a fake model. */
export interface StudioServer {
  readonly url: string;
  readonly engine: Engine;
  close(): Promise<void>;
}

/** Builds the page as it is shipped and serves it on a free port; `addFiles` may put more into its folder first. */
export async function startStudio(
  options: Partial<AppOptions> = {},
  addFiles: (folder: string) => void = () => {},
): Promise<StudioServer> {
  const folder = await mkdtemp(join(tmpdir(), "heddle-studio-"));
  await build({
    root: join(import.meta.dirname, ".."),
    plugins: [sourceAlias()],
    logLevel: "error",
    build: { outDir: folder, emptyOutDir: true },
  });
  addFiles(folder);
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
