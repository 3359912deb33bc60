import { type FileSource, readFile, readJson, readText } from "@heddle/checkpoints";
import { loadTokenizer, type Tokenizer } from "@heddle/tokenizers";

/** Reads the tokenizer of a Hugging Face directory; undefined where it holds none. */
export async function readTokenizer(source: FileSource): Promise<Tokenizer | undefined> {
  const names = source.list();
  if (!names.includes("tokenizer.json") && !names.includes("tokenizer.model")) return undefined;
  const text = async (name: string) => (names.includes(name) ? readText(source, name) : undefined);
  const bytes = async (name: string) => (names.includes(name) ? readFile(source, name) : undefined);
  return loadTokenizer({
    "tokenizer.json": await text("tokenizer.json"),
    "tokenizer.model": await bytes("tokenizer.model"),
    "tokenizer_config.json": await text("tokenizer_config.json"),
  });
}

/**
 * Reads the chat template of a Hugging Face directory: `chat_template.jinja`, or in `tokenizer_config.json` a template or
 * a list of named ones, of which "default" is taken.
 */
export async function readChatTemplate(source: FileSource): Promise<string | undefined> {
  const names = source.list();
  if (names.includes("chat_template.jinja")) return readText(source, "chat_template.jinja");
  if (!names.includes("tokenizer_config.json")) return undefined;
  const config = await readJson(source, "tokenizer_config.json");
  const template = isRecord(config) ? config.chat_template : undefined;
  if (typeof template === "string") return template;
  const named = Array.isArray(template) ? template.filter(isRecord) : [];
  const found = named.find(({ name }) => name === "default")?.template;
  return typeof found === "string" ? found : undefined;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}
