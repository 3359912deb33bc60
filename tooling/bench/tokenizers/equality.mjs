// Compares Heddle's ids with those of @huggingface/tokenizers and of the native library on many strings.
//   node tooling/bench/tokenizers/equality.mjs [--tokenizers "Llama-3,Qwen-3"] [--strings 100000] [--against "@huggingface/tokenizers"]
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { writeHeddle } from "./bundle.mjs";
import { dataFolder, sources, texts } from "./files.mjs";
import { libraries } from "./libraries.mjs";

const { values: options } = parseArgs({
  options: {
    tokenizers: { type: "string", default: "Llama-3,Gemma-3,Qwen-3,GPT-4o,DeepSeek-V3,Llama-2" },
    strings: { type: "string", default: "100000" },
    against: { type: "string", default: "@huggingface/tokenizers" },
    shown: { type: "string", default: "12" },
  },
});

/** A small generator of repeatable random numbers (mulberry32). */
function createRandom(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** Strings of four kinds in turn: characters of all of Unicode, code, the declaration of human rights, random bytes. */
function* strings(count) {
  const random = createRandom(1);
  const upTo = (limit) => Math.floor(random() * limit);
  const code = texts.code();
  const rights = Object.values(
    JSON.parse(readFileSync(join(dataFolder, "text/udhr_187_languages.json"), "utf8")),
  ).map((entry) => (typeof entry === "string" ? entry : (entry.fixture ?? JSON.stringify(entry))));
  let codePoint = 0;
  const sweep = () => {
    let text = "";
    for (let i = 0; i < 12; i++) {
      if (codePoint === 0xd800) codePoint = 0xe000;
      text += String.fromCodePoint(codePoint) + ["", " ", "a", "'", "\n", "1"][upTo(6)];
      codePoint = (codePoint + 1) % 0x32000;
    }
    return text;
  };
  const cut = (text) => {
    const start = upTo(text.length - 1);
    return new TextDecoder().decode(new TextEncoder().encode(text.slice(start, start + 1 + upTo(80))));
  };
  const bytes = () => new TextDecoder().decode(Uint8Array.from({ length: 1 + upTo(40) }, () => upTo(256)));
  const kinds = [sweep, () => cut(code), () => cut(rights[upTo(rights.length)]), bytes];
  for (let i = 0; i < count; i++) yield kinds[i % kinds.length]();
}

await writeHeddle();
for (const name of options.tokenizers.split(",")) {
  const source = sources[name]();
  const own = await (await libraries.heddle(source, name))();
  const other = await (await libraries[options.against](source, name))();
  let compared = 0;
  const different = [];
  for (const text of strings(Number(options.strings))) {
    compared++;
    const expected = Array.from(await other.encode(text));
    const got = Array.from(own.encode(text));
    if (expected.join() !== got.join()) different.push({ text, expected, got });
  }
  console.log(
    `${name}: ${compared - different.length} of ${compared} strings have the ids of ${options.against}`,
  );
  for (const { text, expected, got } of different.slice(0, Number(options.shown))) {
    const from = got.findIndex((id, i) => id !== expected[i]);
    const around = (ids) => ids.slice(Math.max(0, from), from + 6).join(" ");
    console.log(
      `  ${JSON.stringify(text).slice(0, 90)} from token ${from}: Heddle ${around(got)}, other ${around(expected)}`,
    );
  }
}
