import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createApp, type Page, prepareModel } from "@heddle/serve/http";
import { createPrometheusMetrics, drainOnSignals, listen, readPage } from "@heddle/serve/node";
import { type Command, InvalidArgumentError } from "commander";
import { findEmbeddedModel, openNamedModel } from "../named-model.js";
import {
  addModelOptions,
  collect,
  createDevice,
  type ModelOptions,
  parseCount,
  parseWhole,
} from "../options.js";
import type { Terminal } from "../terminal.js";

interface ServeOptions extends ModelOptions {
  readonly model?: string;
  readonly name?: string;
  readonly host: string;
  readonly port: number;
  readonly apiKey?: string;
  readonly slots: number;
  readonly maxSeqLen?: number;
  readonly maxQueued: number;
  readonly maxBodyBytes?: number;
  readonly corsOrigin?: string[];
  readonly json?: boolean;
}

export function addServe(program: Command, terminal: Terminal): void {
  const command = program
    .command("serve")
    .description(
      "Serve a model over HTTP: OpenAI's completions and chat completions, metrics, and the studio page at /.",
    )
    .option("--model <path>", "a Hugging Face model directory or a GGUF file (default: the embedded model)")
    .option("--name <id>", "name of the model in the API (default: its directory's)")
    .option("--host <address>", "address to listen on", "127.0.0.1")
    .option("--port <n>", "port to listen on; 0 takes any free one", parsePort, 8080)
    .option(
      "--api-key <key>",
      "ask clients for this key (default: the environment's HEDDLE_API_KEY, or none)",
    )
    .option("--slots <n>", "requests that run at the same time", parseCount, 8)
    .option("--max-seq-len <n>", "longest prompt and answer together (default: the model's)", parseCount)
    .option("--max-queued <n>", "requests that may wait; more are answered with 429", parseWhole, 256)
    .option("--max-body-bytes <n>", "largest request body", parseCount)
    .option("--cors-origin <origin>", "origin of another page that may call; may be repeated", collect)
    .option("--json", 'print one JSON line {"url","model"} when ready');
  addModelOptions(command).action((options: ServeOptions) => serve(options, terminal));
}

async function serve(options: ServeOptions, terminal: Terminal): Promise<void> {
  const startedAt = performance.now();
  const device = await createDevice(options);
  try {
    const { model: loaded, name } = await openNamedModel(options.model, {
      device,
      terminal,
      packedCache: options.packedCache,
    });
    const weightsSeconds = (performance.now() - startedAt) / 1000;
    const { maxSeqLen, maxQueued, maxBodyBytes, corsOrigin } = options;
    const { engine, model, warmUp, dispose } = prepareModel(loaded, {
      id: options.name ?? name,
      numSlots: options.slots,
      maxQueued,
      ...(maxSeqLen === undefined ? {} : { maxSeqLen }),
    });
    const warmUpAt = performance.now();
    await warmUp();
    const loadSeconds = { weights: weightsSeconds, warmup: (performance.now() - warmUpAt) / 1000 };
    const apiKey = options.apiKey ?? process.env.HEDDLE_API_KEY;
    const pageFolder = findPage();
    const app = createApp({
      engine,
      model,
      metrics: createPrometheusMetrics(engine, { loadSeconds }),
      ...(pageFolder === undefined ? {} : { page: await readStudio(pageFolder) }),
      ...(apiKey === undefined || apiKey === "" ? {} : { apiKey }),
      ...(maxBodyBytes === undefined ? {} : { maxBodyBytes }),
      ...(corsOrigin === undefined ? {} : { corsOrigins: corsOrigin }),
    });
    const server = await listen(app, { host: options.host, port: options.port });
    const ready = { url: server.url, model: model.id, seconds: (performance.now() - startedAt) / 1000 };
    await terminal.print(
      options.json
        ? `${JSON.stringify(ready)}\n`
        : `${ready.model} is served at ${ready.url} (ready after ${ready.seconds.toFixed(1)} s); Ctrl-C ends.\n`,
    );
    await drainOnSignals(server, engine, {
      onDrain: () => terminal.note("heddle: finishing the requests under way."),
    });
    await dispose();
    loaded.dispose();
  } finally {
    device.dispose();
  }
}

/** The page, and the small model for its engine inside the browser. */
async function readStudio(folder: string): Promise<Page> {
  const page = await readPage(folder);
  const directory = findEmbeddedModel();
  if (directory === undefined) return page;
  const files = await readPage(directory);
  return new Map([...page, ...[...files].map(([path, asset]) => [`/model${path}`, asset] as const)]);
}

/** The built studio page: inside the published program, or beside it in the repository. */
function findPage(): string | undefined {
  const folders = ["page", "../../studio/dist", "../../../studio/dist"].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  );
  return folders.find((folder) => existsSync(`${folder}/index.html`));
}

function parsePort(text: string): number {
  const port = parseWhole(text);
  if (port > 65_535) throw new InvalidArgumentError("It must be a port from 0 to 65535.");
  return port;
}
