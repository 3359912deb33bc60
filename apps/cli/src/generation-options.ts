import type { BeamSearchOptions, ContrastiveSearchOptions, GenerateOptions } from "@heddle/models";
import { HeddleError } from "@heddle/tensor";
import { type Command, InvalidArgumentError, Option } from "commander";
import { collect, parseIds, parseJson, parseNumber, parseRows, parseWhole } from "./options.js";

/** How tokens are chosen: drawn one by one, by a search over beams, or by contrastive search. */
export type Way = "draw" | "beams" | "contrast";

/** What the options of the command line say, by their names in the library. */
export interface GenerationOptions
  extends Omit<GenerateOptions, "badWords">,
    Pick<BeamSearchOptions, "numBeams" | "numReturned" | "lengthPenalty" | "earlyStopping">,
    Pick<ContrastiveSearchOptions, "penaltyAlpha"> {
  /** As texts or ids. */
  readonly badWords?: readonly (string | readonly number[])[];
}

interface Flag {
  readonly name: keyof GenerationOptions;
  readonly option: Option;
  /** The ways that honour it. */
  readonly ways: readonly Way[];
}

type Parse = (text: string, before: unknown) => unknown;
type Row = readonly [flags: string, name: Flag["name"], help: string, parse?: Parse];

const penaltyRows: readonly Row[] = [
  ["--max-tokens <n>", "maxTokens", "most tokens to generate (default: 512, or as many as fit)", parseWhole],
  ["--min-tokens <n>", "minTokens", "fewest tokens to generate", parseWhole],
  ["--ignore-eos", "ignoreEos", "go on after end-of-text tokens"],
  ["--repetition-penalty <r>", "repetitionPenalty", "above 1 discourages repetition", parseNumber],
  [
    "--frequency-penalty <f>",
    "frequencyPenalty",
    "lowers a token's score for each time it came",
    parseNumber,
  ],
  ["--presence-penalty <p>", "presencePenalty", "lowers the score of tokens that came", parseNumber],
  ["--distinct-ngrams <n>", "noRepeatNgramSize", "never repeat n tokens in a row", parseWhole],
  ["--bad-words <json>", "badWords", 'what must not come, as texts or ids: ["cat", [7, 9]]', parseWords],
  ["--suppress-tokens <json>", "suppressTokens", "ids that must not come: [4, 9]", parseIds],
  ["--forced-tokens <json>", "forcedTokens", "[place in the answer from 0, id] each: [[0, 17]]", parseRows],
];

const drawRows: readonly Row[] = [
  ["--temperature <t>", "temperature", "0 takes the likeliest token each time", parseNumber],
  ["--top-p <p>", "topP", "choose among the likeliest tokens up to this probability", parseNumber],
  ["--min-p <p>", "minP", "choose among tokens at least this many times as likely as the best", parseNumber],
  ["--top-h <h>", "topH", "choose among the likeliest tokens up to this share of the entropy", parseNumber],
  [
    "--typical-p <p>",
    "typicalP",
    "choose among tokens of typical surprise up to this probability",
    parseNumber,
  ],
  ["--epsilon-cutoff <p>", "epsilonCutoff", "choose among tokens of this probability or more", parseNumber],
  ["--eta-cutoff <p>", "etaCutoff", "the same, lower where many tokens are likely", parseNumber],
  ["--top-n-sigma <n>", "topNSigma", "choose among tokens within n deviations of the best", parseNumber],
  ["--xtc-probability <p>", "xtcProbability", "how often the likeliest tokens are excluded", parseNumber],
  ["--xtc-threshold <p>", "xtcThreshold", "probability from which tokens count as such (0.1)", parseNumber],
  ["--seed <n>", "seed", "same seed, same text", parseWhole],
  ["--stop <text>", "stop", "end before this text; may be repeated", parseStop],
  ["--logprobs <n>", "logprobs", "with --json: each token's logprob, and the n likeliest", parseWhole],
];

const beamRows: readonly Row[] = [
  ["--beams <n>", "numBeams", "search for the likeliest text with n beams instead of drawing", parseWhole],
  ["--num-returned <n>", "numReturned", "of --beams: how many of the best texts to print", parseWhole],
  ["--length-penalty <p>", "lengthPenalty", "of --beams: above 0 favours longer texts (1)", parseNumber],
  ["--early-stopping <when>", "earlyStopping", "of --beams: true, false or never", parseEarlyStopping],
];

const flags: readonly Flag[] = [
  ...rowsToFlags(drawRows, ["draw"]),
  ...rowsToFlags(
    [["--top-k <k>", "topK", "choose among the k likeliest tokens; 0: all", parseWhole]],
    ["draw", "contrast"],
  ),
  ...rowsToFlags(beamRows, ["beams"]),
  ...rowsToFlags(
    [
      [
        "--penalty-alpha <a>",
        "penaltyAlpha",
        "search for text unlike what came before, by this weight, among --top-k (4) tokens",
        parseNumber,
      ],
    ],
    ["contrast"],
  ),
  ...rowsToFlags(penaltyRows, ["draw", "beams", "contrast"]),
];

function rowsToFlags(rows: readonly Row[], ways: readonly Way[]): Flag[] {
  return rows.map(([text, name, help, parse]) => {
    const option = new Option(text, help);
    return { name, ways, option: parse === undefined ? option : option.argParser<unknown>(parse) };
  });
}

/** Adds every option of how an answer is made. */
export function addGenerationOptions(command: Command): Command {
  for (const { option } of flags) command.addOption(option);
  return command;
}

/**
 * Reads how tokens are to be chosen, and with which options.
 *
 * @param given  what commander read
 * @throws HeddleError "config" naming options that the way has no use for
 */
export function readGenerationOptions(given: object): {
  readonly way: Way;
  readonly options: GenerationOptions;
} {
  const values = new Map(Object.entries(given));
  const used = flags.filter(({ option }) => values.get(option.attributeName()) !== undefined);
  const names = used.map(({ name }) => name);
  const way = names.includes("numBeams") ? "beams" : names.includes("penaltyAlpha") ? "contrast" : "draw";
  const unused = used.filter(({ ways }) => !ways.includes(way)).map(({ option }) => option.long);
  if (unused.length > 0) {
    const [rule, cure] = refusals[way];
    const message = `generate: ${rule}; got ${unused.join(", ")}. ${cure}`;
    throw new HeddleError("config", message, { options: unused });
  }
  const entries = used.map(({ name, option }) => [name, values.get(option.attributeName())]);
  return { way, options: Object.fromEntries(entries) };
}

const refusals: Readonly<Record<Way, readonly [rule: string, cure: string]>> = {
  draw: ["options of beam search need --beams", "Add --beams N, or leave them out."],
  beams: [
    "--beams goes only with options that a search for the likeliest text has a use for",
    "Leave them out, or leave --beams out to draw tokens.",
  ],
  contrast: [
    "--penalty-alpha goes only with --top-k and with options of every answer",
    "Leave them out, or leave --penalty-alpha out to draw tokens.",
  ],
};

function parseWords(text: string): (string | number[])[] {
  const words = parseJson(text);
  const isWord = (word: unknown) =>
    (typeof word === "string" && word !== "") ||
    (Array.isArray(word) && word.length > 0 && word.every((id) => Number.isSafeInteger(id)));
  if (!Array.isArray(words) || !words.every(isWord))
    throw new InvalidArgumentError('It must be texts or lists of ids as JSON, such as ["cat", [7, 9]].');
  return words;
}

function parseStop(text: string, before: unknown): string[] {
  return collect(text, Array.isArray(before) ? before : []);
}

function parseEarlyStopping(text: string): boolean | "never" {
  if (text === "never") return text;
  if (text === "true" || text === "false") return text === "true";
  throw new InvalidArgumentError("It must be true, false or never.");
}
