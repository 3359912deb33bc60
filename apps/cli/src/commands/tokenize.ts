import { createReadStream } from "node:fs";
import { HeddleError } from "@heddle/tensor";
import { colorTokens, type Tokenizer } from "@heddle/tokenizers";
import { type Command, Option } from "commander";
import { linesOf, type Terminal } from "../terminal.js";
import { openTokenizer } from "../tokenizer-files.js";

interface TokenizeOptions {
  readonly tokenizer: string;
  readonly decode?: boolean;
  readonly color?: boolean;
  readonly input?: string;
  readonly jsonl?: boolean;
  readonly specialTokens: boolean;
  readonly skipSpecialTokens?: boolean;
  readonly offsets: "utf16" | "codepoints";
}

export function addTokenize(program: Command, terminal: Terminal): void {
  program
    .command("tokenize")
    .description(
      'Turn lines of text into JSON lines {"ids":[..],"tokens":[..],"offsets":[[start,end],..]}, or with --decode JSON lines of ids into {"text":".."}.',
    )
    .requiredOption(
      "--tokenizer <path>",
      "tokenizer.json, SentencePiece .model, tekken.json, vocab.txt, or a directory that holds one",
    )
    .option("--decode", "read JSON arrays of ids, one a line, and print their texts")
    .addOption(
      new Option(
        "--color",
        "show each line with its tokens on coloured grounds, their number and ids, instead of JSON",
      ).conflicts(["decode", "json"]),
    )
    .option("--input <file>", "read from a file instead of stdin")
    .option("--jsonl", "lines are JSON strings, so that texts may hold line breaks")
    .option("--no-special-tokens", "leave out the tokens that the tokenizer adds, such as BOS")
    .option("--skip-special-tokens", "with --decode: leave special tokens out of the text")
    .addOption(
      new Option("--offsets <unit>", "what offsets count: JavaScript's UTF-16 units, or Unicode code points")
        .choices(["utf16", "codepoints"])
        .default("utf16"),
    )
    .option("--json", "accepted for uniformity: output is always JSON lines")
    .action(async (options: TokenizeOptions) => {
      const tokenizer = await openTokenizer(options.tokenizer);
      const chunks = options.input === undefined ? terminal.input : createReadStream(options.input);
      let number = 0;
      for await (const line of linesOf(chunks)) {
        number++;
        await terminal.print(`${tokenizeLine(tokenizer, line, { number, ...options })}\n`);
      }
    });
}

type LineOptions = TokenizeOptions & { readonly number: number };

function tokenizeLine(tokenizer: Tokenizer, line: string, options: LineOptions): string {
  if (options.decode) return JSON.stringify(decodeLine(tokenizer, line, options));
  const text = options.jsonl ? parseLine(line, options.number, "a JSON string") : line;
  if (typeof text !== "string") throw badLine(options.number, "a JSON string", line);
  if (!options.color) return JSON.stringify(encodeText(tokenizer, text, options));
  return colorTokens(text, tokenizer.encode(text, { addSpecialTokens: options.specialTokens }));
}

function encodeText(tokenizer: Tokenizer, text: string, options: LineOptions) {
  const { ids, tokens, offsets } = tokenizer.encode(text, { addSpecialTokens: options.specialTokens });
  return {
    ids: [...ids],
    tokens,
    offsets: options.offsets === "utf16" ? offsets : inCodePoints(text, offsets),
  };
}

function decodeLine(tokenizer: Tokenizer, line: string, options: LineOptions) {
  const ids = parseLine(line, options.number, "a JSON array of ids");
  if (!Array.isArray(ids) || !ids.every((id): id is number => Number.isSafeInteger(id)))
    throw badLine(options.number, "a JSON array of ids", line);
  return { text: tokenizer.decode(ids, { skipSpecialTokens: options.skipSpecialTokens ?? false }) };
}

/** Counts each offset in code points instead of UTF-16 units. */
function inCodePoints(text: string, offsets: readonly (readonly [number, number])[]): [number, number][] {
  const before = new Int32Array(text.length + 1);
  let count = 0;
  for (let at = 0; at < text.length; at++) {
    before[at] = count;
    // The second half of a pair belongs to the code point that began before it.
    const isLow = /^[\uDC00-\uDFFF]$/.test(text.charAt(at)) && /^[\uD800-\uDBFF]$/.test(text.charAt(at - 1));
    if (isLow) before[at] = count;
    else count++;
  }
  before[text.length] = count;
  return offsets.map(([start, end]) => [before[start] ?? 0, before[end] ?? 0]);
}

function parseLine(line: string, number: number, wanted: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw badLine(number, wanted, line);
  }
}

function badLine(number: number, wanted: string, line: string): HeddleError {
  const shown = line.length > 60 ? `${line.slice(0, 57)}...` : line;
  return new HeddleError(
    "format",
    `tokenize: every line must be ${wanted}; got ${shown} in line ${number}. Mend the input.`,
    {
      line: number,
    },
  );
}
