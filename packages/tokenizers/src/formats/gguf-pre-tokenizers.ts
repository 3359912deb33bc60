import type { PreTokenizer } from "../pre-tokenizers/kinds.js";

/** What the name in `tokenizer.ggml.pre` stands for. */
export interface GgufPreTokenizer {
  /** Oniguruma patterns, applied one after the other; each cuts its matches out of what the earlier ones left. */
  readonly patterns: readonly string[];
  /** A word that is a token is taken whole. */
  readonly ignoreMerges?: true;
  /** BOS is put in front unless the file says otherwise. */
  readonly addsBos?: true;
  /** SEP is put behind unless the file says otherwise. */
  readonly addsSep?: true;
}

const CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const BREAKS = "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)";

/** Llama 3's pattern with another rule for digits. */
const llama3 = (digits: string) =>
  `${CONTRACTION}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|${BREAKS}`;

/** GPT-4o's pattern: words end before a change from small to capital letters. */
function gpt4o(options: { readonly tail: string; readonly digits: string; readonly minus?: string }): string {
  const { tail, digits, minus = "" } = options;
  const upper = `[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}${minus}]`;
  const lower = `[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}${minus}]`;
  const before = "[^\\r\\n\\p{L}\\p{N}]?";
  const slash = minus === "" ? "/" : "";
  return `${before}${upper}*${lower}+${tail}|${before}${upper}+${lower}*${tail}|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n${slash}]*|${BREAKS}`;
}

const WITH_CONTRACTION = { tail: `${CONTRACTION}?`, digits: "\\p{N}{1,3}" };

/** ASCII punctuation as DeepSeek's patterns list it. */
const PUNCTUATION = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~]";
const DEEPSEEK_WORDS = `${PUNCTUATION}[A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|${BREAKS}`;

/** DeepSeek LLM's list of letters that have a case; it lacks the small letters of Armenian and Georgian. */
const CASED_LETTERS =
  "A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}\\x{1c4}-\\x{293}\\x{295}-\\x{2af}" +
  "\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}\\x{37f}\\x{386}\\x{388}-\\x{38a}\\x{38c}\\x{38e}-\\x{3a1}" +
  "\\x{3a3}-\\x{3f5}\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}\\x{10a0}-\\x{10c5}\\x{13a0}-\\x{13f5}" +
  "\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}\\x{1d79}-\\x{1d9a}" +
  "\\x{1e00}-\\x{1f15}\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{1f4d}\\x{1f50}-\\x{1f57}\\x{1f59}\\x{1f5b}" +
  "\\x{1f5d}\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}\\x{1fbe}\\x{1fc2}-\\x{1fc4}\\x{1fc6}-\\x{1fcc}" +
  "\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}\\x{1fe0}-\\x{1fec}\\x{1ff2}-\\x{1ff4}\\x{1ff6}-\\x{1ffc}\\x{2102}\\x{2107}" +
  "\\x{210a}-\\x{2113}\\x{2115}\\x{2119}-\\x{211d}\\x{2124}\\x{2126}\\x{2128}\\x{212a}-\\x{212d}\\x{212f}-\\x{2134}" +
  "\\x{2139}\\x{213c}-\\x{213f}\\x{2145}-\\x{2149}\\x{214e}\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}" +
  "\\x{2ceb}-\\x{2cee}\\x{2cf2}\\x{2cf3}\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}\\x{a722}-\\x{a76f}\\x{a771}-\\x{a787}" +
  "\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}\\x{fb00}-\\x{fb06}\\x{fb13}-\\x{fb17}\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}" +
  "\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{10cf2}" +
  "\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}";
const DEEPSEEK_CJK = "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+";
const CJK = "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+";

/** AFMoE's list of scripts without spaces. */
const ASIAN =
  "[\\x{4e00}-\\x{9fff}\\x{3400}-\\x{4dbf}\\x{f900}-\\x{faff}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}\\x{ff65}-\\x{ff9f}" +
  "\\x{2f00}-\\x{2fdf}\\x{e40}-\\x{e7f}\\x{e80}-\\x{eff}\\x{1780}-\\x{17ff}\\x{1000}-\\x{109f}\\x{aa60}-\\x{aa7f}" +
  "\\x{a9e0}-\\x{a9ff}\\x{ac00}-\\x{d7af}\\x{1100}-\\x{11ff}]+";
const YOUTU_CJK =
  "[\\x{ac00}-\\x{d7a3}\\x{3131}-\\x{318e}]+|[\\x{ff01}\\x{2026}\\x{201c}\\x{201d}\\x{2018}\\x{2019}\\x{2014}\\x{ff1a}" +
  `\\x{ff1b}\\x{ff0c}\\x{3001}-\\x{303f}\\x{fe30}-\\x{fe4f}]+|[\\x{3105}-\\x{312f}]+|${CJK}`;
const NORDIC = " ?[^(\\s|.,!?\\x{2026}\\x{3002}\\x{ff0c}\\x{3001}\\x{964}\\x{6d4}\\x{60c})]+";
/** Digits in groups of three counted from the right, up to the end of a word. */
const DIGIT_TRIPLES = "\\d{1,3}(?=(?:\\d{3})*(?!\\w))";
const spaceCascade = (): string => [512, 256, 128, 64, 32, 16, 8, 4].map((n) => `\\s{${n}}(?!\\S)`).join("|");

/** Names that share a rule stand together, divided by spaces. A function, so that bundles without GGUF lack them. */
const createRules = (): Readonly<Record<string, GgufPreTokenizer>> => ({
  "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano": {
    patterns: [llama3("\\p{N}{1,3}")],
    ignoreMerges: true,
    addsBos: true,
  },
  "dbrx smaug-bpe glm4 chatglm-bpe": { patterns: [llama3("\\p{N}{1,3}")] },
  "qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan grok-2 solar-open": {
    patterns: [llama3("\\p{N}")],
  },
  qwen35: {
    patterns: [
      `${CONTRACTION}|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|${BREAKS}`,
    ],
  },
  "jais-2": {
    patterns: [
      `${CONTRACTION}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|${spaceCascade()}|\\s{1,2}(?!\\S)|\\s{1}`,
    ],
  },
  "deepseek-llm": {
    patterns: [
      "[\\r\\n]",
      `\\s?[${CASED_LETTERS}]+`,
      "\\s?[!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}\\x{3000}-\\x{3002}]+",
      "\\s+$",
      DEEPSEEK_CJK,
      "\\p{N}+",
    ],
  },
  "deepseek-coder": { patterns: ["[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", DEEPSEEK_CJK, "\\p{N}"] },
  "deepseek-v3 hunyuan-dense joyai-llm": { patterns: ["\\p{N}{1,3}", CJK, DEEPSEEK_WORDS] },
  youtu: {
    patterns: [YOUTU_CJK, gpt4o({ tail: `${CONTRACTION}?`, digits: "\\p{N}" })],
    ignoreMerges: true,
  },
  falcon: { patterns: ["[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]"] },
  "starcoder refact command-r smollm codeshell exaone minerva-7b": { patterns: ["\\p{N}", GPT2] },
  "gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert mpt olmo jais trillion granite-docling exaone4":
    { patterns: [GPT2] },
  "jina-v1-en jina-v2-code roberta-bpe": { patterns: [GPT2], addsSep: true },
  "poro-chat bloom gpt3-finnish": { patterns: [NORDIC] },
  viking: { patterns: [NORDIC, "\\p{N}"] },
  tekken: { patterns: [gpt4o({ tail: "", digits: "\\p{N}" })], ignoreMerges: true, addsBos: true },
  chameleon: {
    patterns: [
      "<sentinel:[0-9]+>",
      "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
      "([\\t\\n]|    |  )",
      "\\p{N}",
      "[\\p{P}!-/:-@\\[-`{-~]",
      GPT2,
    ],
    addsBos: true,
  },
  "gpt-4o llama4 kanana2 minimax-m2": { patterns: [gpt4o(WITH_CONTRACTION)] },
  tiny_aya: { patterns: [DIGIT_TRIPLES, gpt4o(WITH_CONTRACTION)] },
  "kimi-k2": { patterns: [`\\p{Han}+|${gpt4o({ ...WITH_CONTRACTION, minus: "&&[^\\p{Han}]" })}`] },
  superbpe: { patterns: ["\\p{N}+", "(?=(\\d{3})+(?!\\d))"] },
  "bailingmoe bailingmoe2 llada-moe": {
    patterns: [
      "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+",
    ],
  },
  "seed-coder": {
    patterns: [
      `${CONTRACTION}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|${BREAKS}`,
    ],
  },
  afmoe: { patterns: [DIGIT_TRIPLES, ASIAN, DEEPSEEK_WORDS] },
  "exaone-moe": {
    patterns: [
      `${CONTRACTION}|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+`,
    ],
  },
  laguna: { patterns: ["[^\\n]+|[\\n]+", llama3("\\p{N}")] },
  gemma4: { patterns: ["[^\\n]+|[\\n]+"], addsBos: true },
  default: { patterns: ["[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"] },
});

function indexRules(): ReadonlyMap<string, GgufPreTokenizer> {
  const named = Object.entries(createRules()).flatMap(([names, rule]) =>
    names.split(" ").map((name) => [name, rule] as const),
  );
  return new Map(named);
}

/** The rules by name. */
const BY_NAME = /* @__PURE__ */ indexRules();

/**
 * Looks up the rule of a `tokenizer.ggml.pre`; undefined if the name is not known.
 *
 * @see llama.cpp, src/llama-vocab.cpp, whose names and patterns these are (the models' own patterns where its comments
 *   give them)
 */
export function ggufPreTokenizer(name: string): GgufPreTokenizer | undefined {
  return BY_NAME.get(name);
}

/** All known names, for errors. */
export function ggufPreTokenizerNames(): readonly string[] {
  return [...BY_NAME.keys()];
}

/** Makes the splits of a rule. */
export function splitsOf(rule: GgufPreTokenizer): PreTokenizer[] {
  return rule.patterns.map((source) => ({
    type: "Split",
    pattern: { type: "Regex", source },
    behavior: "Isolated",
    invert: false,
  }));
}
