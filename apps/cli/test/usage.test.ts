import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildCli, type Cli } from "./cli.js";

const place: { cli?: Cli } = {};
const run = (args: readonly string[], input?: string) => {
  if (place.cli === undefined) throw new Error("the program was not built");
  return place.cli.run(args, input);
};

beforeAll(async () => {
  place.cli = await buildCli();
});
afterAll(() => place.cli?.dispose());

const commands = [
  "tokenize",
  "logits",
  "generate",
  "embed",
  "serve",
  "train",
  "eval",
  "describe",
  "bench",
  "doctor",
];

describe("help", () => {
  test("lists every command", async () => {
    const { code, out, errors } = await run(["--help"]);
    expect({ code, errors }).toEqual({ code: 0, errors: "" });
    for (const command of commands) expect(out).toMatch(new RegExp(`^ +${command} `, "m"));
  });

  test.each(commands)("%s --help", async (command) => {
    const { code, out, errors } = await run([command, "--help"]);
    expect({ code, errors }).toEqual({ code: 0, errors: "" });
    expect(out).toContain(`Usage: heddle ${command}`);
    expect(out).toContain("--json");
  });

  test("the version", async () => {
    expect(await run(["--version"])).toEqual({ code: 0, out: "0.0.0-test\n", errors: "" });
  });
});

describe("bad usage ends with 2, says what is wrong, and prints no results", () => {
  test.each([
    [[], "Usage: heddle"],
    [["tokenise"], "unknown command 'tokenise'"],
    [["tokenize"], "required option '--tokenizer <path>' not specified"],
    [["tokenize", "--tokenizer", "x", "--offsets", "bytes"], "Allowed choices are utf16, codepoints"],
    [["logits", "--model", "x", "--ids", "[[1, 2"], "It must be JSON"],
    [["logits", "--model", "x", "--ids", '[["a"]]'], "rows of whole numbers"],
    [["generate", "--model", "x", "--prompt", "y", "--max-tokens", "-1"], "whole number >= 0"],
    [["generate", "--model", "x", "--prompt", "y", "--temperature", "warm"], "It must be a number"],
    [["generate", "--prompt", "y", "--bad-words", "cat"], "It must be JSON"],
    [["generate", "--prompt", "y", "--bad-words", '["cat", []]'], "It must be texts or lists of ids"],
    [["generate", "--prompt", "y", "--suppress-tokens", "[[4]]"], "It must be whole numbers as JSON"],
    [["generate", "--prompt", "y", "--forced-tokens", "[4]"], "rows of whole numbers"],
    [["generate", "--prompt", "y", "--beams", "2", "--early-stopping", "soon"], "true, false or never"],
    [["generate", "--prompt", "y", "--penalty-alpha", "NaN"], "It must be a number"],
    [
      ["generate", "--model", "x", "--prompt", "y", "--device", "tpu"],
      "Allowed choices are cpu, webgpu, reference",
    ],
    [["serve", "--port", "99999"], "port from 0 to 65535"],
    [["train", "--config", "x", "--confg", "y"], "unknown option '--confg'"],
    [["eval", "--model", "x"], "required option '--text <file>' not specified"],
    [["describe", "--config", "x", "--modle", "y"], "unknown option '--modle'"],
    [["bench", "--repeats", "0"], "whole number >= 1"],
    [["doctor", "--jsn"], "unknown option '--jsn'"],
  ])("%j", async (args, message) => {
    const { code, out, errors } = await run(args);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(errors).toContain(message);
  });
});

describe("what cannot be done ends with 1 and one line", () => {
  test.each([
    [
      ["tokenize", "--tokenizer", "missing.json"],
      'openTokenizer: the path must exist; got "missing.json". Check its spelling.',
    ],
    [
      ["logits", "--model", "missing", "--ids", "[[1]]"],
      'FileSource: the file must exist; got "missing/config.json"',
    ],
    [
      ["generate", "--model", "missing", "--prompt", "x"],
      'FileSource: the file must exist; got "missing/config.json"',
    ],
    [
      ["generate"],
      "generate: one thing to continue must be named; got none. Pass --prompt TEXT, or --ids or --inputs.",
    ],
    [["generate", "--prompt", "x", "--ids", "[[1]]"], "got a prompt and ids"],
    [
      ["generate", "--prompt", "x", "--beams", "2", "--temperature", "0.5", "--top-k", "3", "--stop", "y"],
      "generate: --beams goes only with options that a search for the likeliest text has a use for; got --temperature, --stop, --top-k. Leave them out, or leave --beams out to draw tokens.",
    ],
    [
      ["generate", "--prompt", "x", "--length-penalty", "2"],
      "generate: options of beam search need --beams; got --length-penalty. Add --beams N, or leave them out.",
    ],
    [
      ["generate", "--prompt", "x", "--penalty-alpha", "0.6", "--seed", "2"],
      "generate: --penalty-alpha goes only with --top-k and with options of every answer; got --seed. Leave them out, or leave --penalty-alpha out to draw tokens.",
    ],
    [["generate", "--prompt", "x", "--beams", "2", "--penalty-alpha", "0.6"], "got --penalty-alpha."],
    [
      ["generate", "--prompt", "x", "--logprobs", "2"],
      "generate: --logprobs needs --json, which prints them; got 2 without it. Add --json.",
    ],
    [["generate", "--prompt", "x", "--suppress-tokens", "[99999]"], "generate: ids must be in 0.."],
    [
      ["generate", "--prompt", "x", "--beams", "0"],
      "beamSearch: numBeams must be a whole number >= 1; got 0",
    ],
    [["generate", "--prompt", "x", "--top-h", "2"], "generate: topH must be above 0 and at most 1; got 2"],
    [["generate", "--ids", "[[99999]]"], "generate: ids must be in 0.."],
    [["generate", "--inputs", "x.json"], 'inputs: --inputs must name a safetensors file; got "x.json"'],
    [
      ["serve", "--model", "missing", "--port", "0"],
      'FileSource: the file must exist; got "missing/config.json"',
    ],
    [["train", "--config", "missing.json"], 'train: the configuration must be readable; got "missing.json"'],
    [
      ["eval", "--model", "missing", "--text", "x"],
      'FileSource: the file must exist; got "missing/config.json"',
    ],
  ])("%j", async (args, message) => {
    const { code, out, errors } = await run(args);
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(errors).toMatch(/^heddle: .*\n$/);
    expect(errors).toContain(message);
  });
});

test("doctor tells what there is, for people and for machines", async () => {
  const text = await run(["doctor"]);
  expect(text.code).toBe(0);
  expect(text.out).toMatch(/^threads: +\d+$/m);
  expect(text.out).toMatch(/^webgpu device: +\S/m);
  const { code, out } = await run(["doctor", "--json"]);
  expect(code).toBe(0);
  const found = JSON.parse(out);
  expect(found).toMatchObject({ node: process.version, webgpuDevice: expect.any(Object) });
  expect(found.cpuDevice.threads).toBeGreaterThanOrEqual(1);
});
