import { readFile, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { HeddleError } from "@heddle/tensor";
import { loadTokenizer, type Tokenizer } from "@heddle/tokenizers";

/**
 * Loads a tokenizer from a model directory, from tekken.json or vocab.txt, or from a tokenizer.json or SentencePiece model
 * under any name.
 */
export async function openTokenizer(path: string): Promise<Tokenizer> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) {
    const message = `openTokenizer: the path must exist; got "${path}". Check its spelling.`;
    throw new HeddleError("format", message, { path });
  }
  if (found.isDirectory()) return loadTokenizer(await filesIn(path));
  const settings = await readOptional(join(dirname(path), "tokenizer_config.json"));
  const config = settings === undefined ? {} : { "tokenizer_config.json": settings.toString("utf8") };
  const name = basename(path);
  if (name === "tekken.json" || name === "vocab.txt")
    return loadTokenizer({ ...config, [name]: await readFile(path, "utf8") });
  if (name.endsWith(".json"))
    return loadTokenizer({ ...config, "tokenizer.json": await readFile(path, "utf8") });
  return loadTokenizer({ ...config, "tokenizer.model": new Uint8Array(await readFile(path)) });
}

async function filesIn(directory: string) {
  const text = async (name: string) => (await readOptional(join(directory, name)))?.toString("utf8");
  const model = await readOptional(join(directory, "tokenizer.model"));
  return {
    "tokenizer.json": await text("tokenizer.json"),
    "tokenizer_config.json": await text("tokenizer_config.json"),
    "vocab.json": await text("vocab.json"),
    "merges.txt": await text("merges.txt"),
    "vocab.txt": await text("vocab.txt"),
    "tekken.json": await text("tekken.json"),
    ...(model === undefined ? {} : { "tokenizer.model": new Uint8Array(model) }),
  };
}

async function readOptional(path: string): Promise<Buffer | undefined> {
  return readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
}
