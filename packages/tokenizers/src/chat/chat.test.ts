import { expect, test } from "vitest";
import { createByteTokenizer } from "../index.js";
import { applyChatTemplate, readChatTemplate, renderChat } from "./index.js";

const template =
  "{{ bos_token }}{% for message in messages %}{% if message.role not in ['user', 'assistant'] %}{{ raise_exception('no ' + message.role) }}{% endif %}<|{{ message.role }}|>{{ message.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";

test("a conversation becomes the model's prompt", () => {
  const messages = [
    { role: "user", content: "Hello" },
    { role: "assistant", content: "Hi" },
  ];
  const tokens = { bosToken: "<s>", eosToken: "</s>" };
  expect(renderChat(template, messages, tokens)).toBe("<s><|user|>Hello</s><|assistant|>Hi</s><|assistant|>");
  expect(renderChat(template, messages, { addGenerationPrompt: false })).toBe("<|user|>Hello<|assistant|>Hi");
});

test("messages that the template refuses, and a template that does not parse", () => {
  expect(() => renderChat(template, [{ role: "tool", content: "" }])).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: renderChat: the template must accept the messages; got roles tool: no tool. Change the messages as the template asks.]`,
  );
  expect(() => renderChat("{% if %}", [])).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: renderChat: the chat template must be valid Jinja; got Unexpected token: CloseStatement. Mend the template.]`,
  );
});

test("a conversation becomes ids, special tokens and all", () => {
  const tokenizer = createByteTokenizer();
  const messages = [{ role: "user", content: "Hello" }];
  const ids = applyChatTemplate(tokenizer, template, messages, { bosToken: "<s>", eosToken: "</s>" });
  expect(tokenizer.decode(ids)).toBe("<s><|user|>Hello</s><|assistant|>");
});

test("the template is found where a directory keeps it", () => {
  const named = [
    { name: "tool_use", template: "tools" },
    { name: "default", template: "plain" },
  ];
  const config = (template: unknown) => JSON.stringify({ chat_template: template });
  expect(readChatTemplate({ "chat_template.jinja": "own", "tokenizer_config.json": config("x") })).toBe(
    "own",
  );
  expect(readChatTemplate({ "tokenizer_config.json": config("one") })).toBe("one");
  expect(readChatTemplate({ "tokenizer_config.json": config(named) })).toBe("plain");
  expect(readChatTemplate({ "tokenizer_config.json": config(named) }, "tool_use")).toBe("tools");
  expect(readChatTemplate({ "tokenizer_config.json": "{}" })).toBeUndefined();
  expect(readChatTemplate({})).toBeUndefined();
  expect(() => readChatTemplate({ "tokenizer_config.json": "{" })).toThrowError(
    /^readChatTemplate: tokenizer_config.json must be JSON; got 1 characters that are not/,
  );
});
