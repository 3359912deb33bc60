import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { applyChatTemplate, type ChatMessage, renderChat } from "../src/chat/index.js";
import { fromSentencePiece, loadTokenizer } from "../src/index.js";

const folder = join(process.env.HEDDLE_DATA ?? "", "tokenizer", "mistral");
const data = (...path: string[]) => readFileSync(join(folder, ...path));
const text = (...path: string[]) => data(...path).toString("utf8");
const json = <Value>(...path: string[]) => JSON.parse(text(...path)) as Value;

interface Conversation {
  readonly messages: (ChatMessage & {
    readonly tool_calls?: readonly { readonly function: { readonly arguments: string } }[] | null;
  })[];
  readonly tools: readonly unknown[];
}

/** A conversation as the templates take it: null where nothing is said, arguments of calls as objects. */
function conversation(sample: string): Conversation {
  const { messages, tools } = json<Conversation>("samples", sample, "sample.json");
  const prepared = messages.map((message) => ({
    ...message,
    content: message.content ?? null,
    tool_calls: message.tool_calls?.map((call) => ({
      ...call,
      function: { ...call.function, arguments: JSON.parse(call.function.arguments) },
    })),
  }));
  return { messages: prepared, tools };
}

/**
 * Conversations that templates and mistral-common write alike. It also reads the results of tools that are JSON, which
 * templates leave as they are (get_weather_*), and version 2 of it joins neighbouring results (parallel_calls).
 */
const RENDERED = [
  ["no_tools", ["v1", "v2", "v3"]],
  ["several_calls", ["v2", "v3"]],
  ["parallel_calls", ["v3"]],
] as const;

describe("Mistral's chat templates", () => {
  it.each(RENDERED)("write %s as mistral-common does", (sample, versions) => {
    const { messages, tools } = conversation(sample);
    for (const version of versions) {
      const template = text("chat_templates", `${version}_spm.jinja`);
      const expected = text("samples", sample, `text_${version}.txt`);
      expect(
        renderChat(template, messages, { bosToken: "<s>", eosToken: "</s>", variables: { tools } }),
      ).toBe(expected.replaceAll("▁", " ").replaceAll("<0x0A>", "\n"));
    }
  });

  // A stretch between special tokens brings its own dummy prefix: for such a tokenizer the template writes no space.
  const model = data("tokenizer.model.v3");
  const control = fromSentencePiece(model).config.model;
  if (control.type !== "SentencePiece") throw new Error(control.type);
  const added = [...control.pieces.entries()].filter(([, { kind }]) => kind === "control");
  const tokenizer = loadTokenizer({
    "tokenizer.model": model,
    "tokenizer_config.json": JSON.stringify({
      bos_token: "<s>",
      eos_token: "</s>",
      added_tokens_decoder: Object.fromEntries(
        added.map(([id, { piece }]) => [id, { content: piece, special: true, normalized: false }]),
      ),
    }),
  });

  it.each(["no_tools", "several_calls", "parallel_calls"])(
    "encode %s to the ids of mistral-common",
    (sample) => {
      const { messages, tools } = conversation(sample);
      const ids = applyChatTemplate(tokenizer, text("chat_templates", "v3.jinja"), messages, {
        variables: { tools },
      });
      expect([...ids]).toEqual(json<{ tokens: number[] }>("samples", sample, "tokens_v3.json").tokens);
    },
  );

  it("all render a conversation without tools", () => {
    const { messages } = conversation("no_tools");
    const templates = readdirSync(join(folder, "chat_templates"));
    expect(templates.length).toBe(12);
    for (const name of templates) {
      const rendered = renderChat(text("chat_templates", name), messages, {
        bosToken: "<s>",
        eosToken: "</s>",
      });
      for (const { content } of messages) expect(rendered).toContain(content);
      expect(rendered).toMatch(/^<s>/);
    }
  });
});
