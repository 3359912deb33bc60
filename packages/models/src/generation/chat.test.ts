import { expect, test } from "vitest";
import { renderChat } from "./chat.js";

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
