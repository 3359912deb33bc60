import type { WorkerMessage } from "./control.js";
import { nodeBuiltin } from "./engine.js";

/** A worker thread of Node or of a page. */
export interface Thread {
  post(message: WorkerMessage): void;
  end(): void;
}

interface PageWorker {
  postMessage(message: unknown): void;
  terminate(): void;
  onerror: ((event: unknown) => void) | null;
}

/** Starts a worker thread from source text. `onLoss` is called if it ends by itself. */
export function startThread(source: string, onLoss: () => void): Thread {
  const node = nodeBuiltin("node:worker_threads");
  if (node !== undefined) {
    // No flags and no environment of the host program: its loaders have no business here.
    const worker = new node.Worker(source, { eval: true, name: "heddle", execArgv: [], env: {} });
    worker.unref();
    worker.on("error", onLoss);
    worker.on("exit", onLoss);
    return { post: (message) => worker.postMessage(message), end: () => void worker.terminate() };
  }
  const { Worker: Page } = globalThis as unknown as {
    Worker: new (url: string, options: object) => PageWorker;
  };
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const worker = new Page(url, { name: "heddle" });
  worker.onerror = onLoss;
  return {
    post: (message) => worker.postMessage(message),
    end: () => {
      worker.terminate();
      URL.revokeObjectURL(url);
    },
  };
}
