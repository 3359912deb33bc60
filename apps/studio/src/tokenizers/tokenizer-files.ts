import {
  fromSentencePiece,
  fromTekken,
  fromTiktoken,
  fromTokenizerJson,
  fromVocabTxt,
  TIKTOKEN_PATTERNS,
  type Tokenizer,
} from "@heddle/tokenizers";

/** A tokenizer and what it is called on the page. */
export interface NamedTokenizer {
  readonly name: string;
  readonly tokenizer: Tokenizer;
}

/** Reads a tokenizer from a file that the user has picked; what it is shows by its name and its first bytes. */
export async function readTokenizer(file: File): Promise<NamedTokenizer> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const text = () => new TextDecoder().decode(bytes);
  return { name: file.name, tokenizer: parseTokenizer(file.name, bytes, text) };
}

function parseTokenizer(name: string, bytes: Uint8Array, text: () => string): Tokenizer {
  if (name.endsWith(".tiktoken")) return fromRanks(text());
  if (name.endsWith(".txt")) return fromVocabTxt(text());
  if (name.includes("tekken")) return fromTekken(text());
  const isJson = name.endsWith(".json") || bytes[0] === 0x7b;
  return isJson ? fromTokenizerJson(text()) : fromSentencePiece(bytes);
}

/** A rank file does not say its pattern; its length tells which of OpenAI's encodings it is. */
function fromRanks(text: string): Tokenizer {
  const numRanks = text.trimEnd().split("\n").length;
  const name = numRanks > 150_000 ? "o200k" : numRanks > 80_000 ? "cl100k" : "gpt2";
  return fromTiktoken(text, { pattern: TIKTOKEN_PATTERNS[name] });
}
