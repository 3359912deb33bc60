import { type FileSource, memorySource, readFile } from "@heddle/checkpoints";
import { reference } from "@heddle/tensor";
import { renderChat } from "@heddle/tokenizers/chat";
import { expect, test } from "vitest";
import { goldenSource } from "../../test/golden-model.js";
import { loadModel } from "../loading/load-model.js";
import { beamSearch } from "./beam-search.js";
import { type GenerateOptions, generate } from "./generate.js";

/** 69 printable characters, one token each, after <pad>, <s> and </s>. */
const letters = [..."abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,!?:;-"];
const special = ["<pad>", "<s>", "</s>"];

const tokenizerJson = {
  version: "1.0",
  truncation: null,
  padding: null,
  added_tokens: special.map((content, id) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  })),
  normalizer: null,
  pre_tokenizer: null,
  post_processor: null,
  decoder: { type: "Fuse" },
  model: {
    type: "BPE",
    dropout: null,
    unk_token: null,
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: false,
    byte_fallback: false,
    ignore_merges: false,
    vocab: Object.fromEntries([...special, ...letters].map((token, id) => [token, id])),
    merges: [],
  },
};

const template = "{{ bos_token }}{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}";
const tokenizerConfig = { bos_token: "<s>", eos_token: "</s>", chat_template: template };

/** The golden Llama with a tokenizer of letters beside it. */
async function textSource(files: Record<string, unknown>): Promise<FileSource> {
  const weights = goldenSource("llama");
  const names = ["config.json", "model.safetensors"];
  const own = await Promise.all(names.map(async (name) => [name, await readFile(weights, name)] as const));
  const added = Object.entries(files).map(([name, value]) => {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    return [name, new TextEncoder().encode(text)] as const;
  });
  return memorySource(Object.fromEntries([...own, ...added]));
}

async function textModel(files: Record<string, unknown> = {}) {
  const source = await textSource({
    "tokenizer.json": tokenizerJson,
    "tokenizer_config.json": tokenizerConfig,
    ...files,
  });
  return loadModel(source, { device: reference() });
}

test("a directory's tokenizer, chat template and advice for generation are loaded", async () => {
  const advice = { do_sample: true, temperature: 0.7, top_p: 0.9, eos_token_id: [2, 0], max_length: 20 };
  const model = await textModel({ "generation_config.json": advice });
  expect(model.tokenizer?.decode(model.tokenizer.encodeIds("Heddle."))).toBe("Heddle.");
  expect(model.generationConfig).toEqual({ eosTokenIds: [2, 0], sampling: { temperature: 0.7, topP: 0.9 } });
  const text = renderChat(model.chatTemplate ?? "", [{ role: "user", content: "Hi" }], { bosToken: "<s>" });
  expect(text).toBe("<s>user:Hi;");
  expect(model.tokenizer?.encodeIds(text)[0]).toBe(1);
});

test("the advised least length and first token hold where none are given, the token only after a start token alone", async () => {
  const eos = 40;
  const advice = { eos_token_id: eos, min_new_tokens: 4, forced_bos_token_id: eos };
  const model = await textModel({ "generation_config.json": advice });
  expect(model.generationConfig).toMatchObject({ minTokens: 4, firstTokenId: eos });
  const idsOf = async (prompt: number[], options: GenerateOptions = {}) => {
    const ids: number[] = [];
    for await (const { id } of generate(model, prompt, {
      maxTokens: 6,
      ignoreEos: true,
      temperature: 0,
      ...options,
    }))
      ids.push(id);
    return ids;
  };
  const [first, ...rest] = await idsOf([1]);
  expect(first).toBe(eos);
  expect(rest.slice(0, 3)).not.toContain(eos);
  expect((await idsOf([1, 5]))[0]).not.toBe(eos);
  expect((await idsOf([1], { forcedTokens: [[0, 9]] }))[0]).toBe(9);
  const [beam] = await beamSearch(model, [1], { maxTokens: 6, eosTokenIds: [] });
  expect(beam?.ids[0]).toBe(eos);
  const wrong = textModel({ "generation_config.json": { forced_bos_token_id: -3 } });
  await expect(wrong).rejects.toThrow(/usable values; got forced_bos_token_id /);
});

test("a chat template in a file of its own, or one of several, is found", async () => {
  const named = [
    { name: "tool_use", template: "tools" },
    { name: "default", template: "plain" },
  ];
  const several = await textModel({ "tokenizer_config.json": { ...tokenizerConfig, chat_template: named } });
  expect(several.chatTemplate).toBe("plain");
  expect((await textModel({ "chat_template.jinja": "own" })).chatTemplate).toBe("own");
  expect((await textModel({ "tokenizer_config.json": {} })).chatTemplate).toBeUndefined();
});

test("advice that cannot be is refused with the keys named", async () => {
  await expect(textModel({ "generation_config.json": { temperature: -1, top_p: 3 } })).rejects.toThrow(
    /temperature .*; top_p /,
  );
});

test("texts go in and come out; a stop string ends them and is not part of them", async () => {
  const model = await textModel();
  const tell = async (options: GenerateOptions) => {
    const tokens = [];
    for await (const token of generate(model, "Once.upon.a.time", { temperature: 0, ...options }))
      tokens.push(token);
    return { text: tokens.map(({ text }) => text).join(""), tokens };
  };
  const { text, tokens } = await tell({ maxTokens: 20, ignoreEos: true });
  expect(text).toBe(
    model.tokenizer?.decode(
      tokens.map(({ id }) => id),
      { skipSpecialTokens: true },
    ),
  );
  expect(text.length).toBeGreaterThan(10);
  const stop = text.slice(6, 9);
  const cut = await tell({ maxTokens: 20, ignoreEos: true, stop });
  expect(cut.text).toBe(text.slice(0, text.indexOf(stop)));
  expect(cut.tokens.at(-1)?.finishReason).toBe("stop");
  const heldBack = await tell({ maxTokens: 7, ignoreEos: true, stop: `${text.slice(6, 7)}???` });
  expect(heldBack.text).toBe(
    tokens
      .slice(0, 7)
      .map((token) => token.text)
      .join(""),
  );
});
