import { fetchSource } from "@heddle/checkpoints";
import { webgpu } from "@heddle/gpu";
import { loadModel } from "@heddle/models";
import { createApp, prepareModel } from "@heddle/serve/http";
import { modelFiles } from "@heddle/tiny-stories";

/** Sends a request and gives the answer, as `fetch` does for a path of this site. */
export type Send = (path: string, init?: RequestInit) => Promise<Response>;

/**
 * Starts the whole server inside the page: the small model from the static files in `model/`, on WebGPU, behind the same
 * engine and the same HTTP interface, asked by function call instead of by network.
 *
 * @throws HeddleError "unsupported" in a browser without WebGPU
 */
export async function startPageEngine(): Promise<Send> {
  const device = await webgpu();
  const files = await fetchSource(new URL("model/", document.baseURI).href, { files: modelFiles });
  const loaded = await loadModel(files, { device });
  const { adapter } = device;
  const { engine, model } = prepareModel(loaded, {
    id: "tiny-stories, in this page",
    numSlots: 2,
    facts: { adapter: adapter.description || adapter.architecture || adapter.vendor || "WebGPU" },
  });
  const app = createApp({ engine, model });
  return async (path, init) => app.fetch(new Request(new URL(path, document.baseURI), init));
}
