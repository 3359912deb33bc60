import { generate, type LoadedModel } from "@heddle/models";
import { openModel } from "@heddle/models/node";
import { type CpuDevice, cpu } from "@heddle/tensor";
import OpenAI from "openai";
import { afterAll, beforeAll } from "vitest";
import { createApp, type PreparedModel, type PrepareOptions, prepareModel } from "../src/http/index.js";
import { listen } from "../src/node/index.js";

/** A model from files, served on a free port, with the openai package's client to ask it. */
export interface ServedFiles {
  readonly device: CpuDevice;
  readonly loaded: LoadedModel;
  readonly prepared: PreparedModel;
  readonly url: string;
  readonly client: OpenAI;
}

/** Serves the model of `directory` for the tests of one file. Call it while tests are collected, the result within one. */
export function useServedFiles(directory: string, options: PrepareOptions): () => ServedFiles {
  let served: ServedFiles | undefined;
  let close = async (): Promise<void> => {};
  beforeAll(async () => {
    const device = cpu();
    const loaded = await openModel(directory, { device });
    const prepared = prepareModel(loaded, options);
    await prepared.warmUp();
    const server = await listen(createApp(prepared), { port: 0 });
    const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none" });
    served = { device, loaded, prepared, url: server.url, client };
    close = async () => {
      await server.close({ timeoutMs: 100 });
      await prepared.dispose();
      loaded.dispose();
      device.dispose();
    };
  });
  afterAll(() => close());
  return () => {
    if (served === undefined) throw new Error("The model is served from beforeAll() on.");
    return served;
  };
}

/** The text of a completion, streamed. */
export async function streamText(
  client: OpenAI,
  body: Omit<OpenAI.CompletionCreateParamsStreaming, "stream">,
): Promise<string> {
  let text = "";
  const chunks = await client.completions.create({ ...body, stream: true });
  for await (const chunk of chunks) text += chunk.choices[0]?.text ?? "";
  return text;
}

/** The text that `generate` tells alone, greedily. */
export async function generateAlone(
  { loaded }: ServedFiles,
  prompt: string,
  maxTokens: number,
): Promise<string> {
  let text = "";
  for await (const token of generate(loaded, prompt, { maxTokens, temperature: 0 })) text += token.text;
  return text;
}
