import { type AppOptions, createApp } from "../src/http/app.js";
import { createFakeEngine, fakeModel } from "./fake-model.js";

/** What the fake model says unless told otherwise. */
export const says = "The cat sat. ";

/** An app over a fake model, and a shortcut to post JSON to it. */
export function appOver(
  fake: Parameters<typeof createFakeEngine>[0] = { says },
  options: Partial<AppOptions> = {},
) {
  const { engine, decoder } = createFakeEngine(fake, { maxQueued: 4 });
  const app = createApp({ engine, model: fakeModel, ...options });
  const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
    app.request(path, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: typeof body === "string" ? body : JSON.stringify(body),
    });
  return { app, engine, decoder, post };
}

/** Status, message, param and code of an error response. */
export async function refusal(response: Response | Promise<Response>) {
  const { status, json } = await asJson(response);
  const { message, param, code } = json.error;
  return { status, message, param, code };
}

/** Status, headers and parsed body. */
export async function asJson(response: Response | Promise<Response>) {
  const settled = await response;
  return { status: settled.status, headers: settled.headers, json: JSON.parse(await settled.text()) };
}

/** The JSON of each event, and the last line. */
export async function events(response: Response | Promise<Response>) {
  const text = await (await response).text();
  const lines = text.split("\n\n").filter((line) => line !== "");
  const data = lines.map((line) => line.replace(/^data: /, ""));
  return {
    last: data.at(-1),
    chunks: data.filter((line) => line !== "[DONE]").map((line) => JSON.parse(line)),
  };
}
