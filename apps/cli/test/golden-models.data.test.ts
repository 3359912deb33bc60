// Every golden model of the folder HEDDLE_GOLDENS through the commands, as a user would call them, in this process.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import {
  type GoldenArray,
  type GoldenArrays,
  readGoldenArrays,
} from "../../../tooling/golden/safetensors.js";
import { createProgram } from "../src/program.js";
import { runProgram } from "../src/run-program.js";
import { buildCli } from "./cli.js";

const folder = join(process.env.HEDDLE_GOLDENS ?? "", "models");
const names = existsSync(folder)
  ? readdirSync(folder).filter((name) => existsSync(join(folder, name, "config.json")))
  : [];
const scratch = mkdtempSync(join(tmpdir(), "heddle-goldens-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

interface Golden {
  readonly name: string;
  readonly arrays: GoldenArrays;
  /** Of logits, as the goldens' README advises for computing in float32. */
  tolerance(kind: string): number;
}

function openGolden(name: string): Golden {
  const facts = JSON.parse(readFileSync(join(folder, name, "expected.json"), "utf8")) as {
    readonly f32_max_abs_err?: Readonly<Record<string, number>>;
  };
  return {
    name,
    arrays: readGoldenArrays(pathToFileURL(join(folder, name, "expected.safetensors"))),
    tolerance: (kind) => Math.max(2e-4, 20 * (facts.f32_max_abs_err?.[kind] ?? 0)),
  };
}

/** Runs a command line in this process and gives the lines that it prints as JSON. */
async function run(args: readonly string[]): Promise<unknown[]> {
  const [printed, notes]: [string[], string[]] = [[], []];
  const terminal = {
    input: (async function* () {})(),
    print: async (text: string) => void printed.push(text),
    note: (text: string) => void notes.push(text),
    stderr: process.stderr,
    signal: new AbortController().signal,
  };
  const code = await runProgram(createProgram(terminal), terminal, args);
  expect({ code, notes }).toEqual({ code: 0, notes: [] });
  return printed
    .join("")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
}

function rows({ shape, data }: GoldenArray): number[][] {
  const width = shape.at(-1) ?? 1;
  return Array.from({ length: data.length / width }, (_, row) => [
    ...data.subarray(row * width, (row + 1) * width),
  ]);
}

const rowOptions = {
  input_ids: "--ids",
  attention_mask: "--attention-mask",
  token_type_ids: "--token-type-ids",
  decoder_input_ids: "--decoder-ids",
  decoder_attention_mask: "--decoder-attention-mask",
};

/** The options that give a command the inputs of one case; arrays of three axes go through a file. */
function inputsOf({ name, arrays }: Golden, kind: string): string[] {
  const options = Object.entries(rowOptions).flatMap(([input, option]) =>
    arrays.has(`${kind}.${input}`) ? [option, JSON.stringify(rows(arrays.get(`${kind}.${input}`)))] : [],
  );
  const large = ["input_features", "perm_mask", "target_mapping"].filter((input) =>
    arrays.has(`${kind}.${input}`),
  );
  if (large.length === 0) return options;
  const file = join(scratch, `${name}-${kind}.safetensors`);
  writeArrays(file, Object.fromEntries(large.map((input) => [input, arrays.get(`${kind}.${input}`)])));
  return [...options, "--inputs", file];
}

function writeArrays(file: string, arrays: Readonly<Record<string, GoldenArray>>): void {
  let end = 0;
  const header = Object.entries(arrays).map(([name, { shape, data }]) => {
    const start = end;
    end += 4 * data.length;
    return [name, { dtype: "F32", shape, data_offsets: [start, end] }];
  });
  const json = Buffer.from(JSON.stringify(Object.fromEntries(header)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const values = Object.values(arrays).map(({ data }) => Buffer.from(Float32Array.from(data).buffer));
  writeFileSync(file, Buffer.concat([length, json, ...values]));
}

/** The greatest difference where there is a token; logits of padding are zeros in the golden files. */
function greatestError(got: readonly number[], { data }: GoldenArray, mask?: GoldenArray): number {
  expect(got.length).toBe(data.length);
  const perToken = mask === undefined ? data.length : data.length / mask.data.length;
  const isToken = (at: number) => mask === undefined || mask.data[Math.floor(at / perToken)] === 1;
  return got.reduce(
    (most, value, at) => (isToken(at) ? Math.max(most, Math.abs(value - (data[at] ?? Number.NaN))) : most),
    0,
  );
}

const flat = (values: unknown): number[] => (Array.isArray(values) ? values.flatMap(flat) : [Number(values)]);

test("the golden models are there", () => expect(names.length).toBeGreaterThanOrEqual(59));

describe.each(names)("%s", (name) => {
  const golden = openGolden(name);
  const { arrays } = golden;
  const kinds = ["basic", "padded", "long", "perm"].filter((kind) => arrays.has(`${kind}.logits`));
  const model = ["--model", join(folder, name)];

  describe.each(["cpu", "reference"])("%s", (device) => {
    test.each(kinds)("heddle logits, %s", async (kind) => {
      const [printed] = await run(["logits", ...model, "--device", device, ...inputsOf(golden, kind)]);
      const { shape, logits } = printed as { shape: number[]; logits: unknown };
      const expected = arrays.get(`${kind}.logits`);
      expect(shape).toEqual(expected.shape);
      // Predictions for a whole text, or for places chosen, have no padding.
      const side = arrays.has(`${kind}.decoder_attention_mask`) ? "decoder_attention_mask" : "attention_mask";
      const isPerToken = expected.shape.length === 3 && arrays.has(`${kind}.${side}`);
      const mask = isPerToken ? arrays.get(`${kind}.${side}`) : undefined;
      expect(greatestError(flat(logits), expected, mask)).toBeLessThanOrEqual(golden.tolerance(kind));
    });

    const greedy = ["greedy.prompt", "greedy.input_ids", "greedy.input_features"].find(arrays.has);
    if (greedy)
      test("heddle generate, greedy with a cache", async () => {
        const { data: ids } = arrays.get("greedy.ids");
        const margin = Math.min(...arrays.get("greedy.margin").data);
        const given =
          greedy === "greedy.prompt"
            ? ["--ids", JSON.stringify(rows(arrays.get("greedy.prompt")))]
            : inputsOf(golden, "greedy");
        const args = ["generate", ...model, "--device", device, ...given, "--max-tokens", `${ids.length}`];
        const [answer] = await run([...args, "--temperature", "0", "--ignore-eos", "--json"]);
        expect(margin).toBeGreaterThan(1e-3);
        expect(answer).toMatchObject({ ids: [...ids], finishReason: "length" });
      });

    if (arrays.has("leftpad.input_ids"))
      test("heddle generate, a batch padded on the left", async () => {
        const ids = rows(arrays.get("leftpad.greedy_ids"));
        const args = ["generate", ...model, "--device", device, ...inputsOf(golden, "leftpad")];
        const length = ["--max-tokens", `${ids[0]?.length}`];
        const answers = await run([...args, ...length, "--temperature", "0", "--ignore-eos", "--json"]);
        expect(answers).toMatchObject(ids.map((row) => ({ ids: row })));
      });

    // Texts have no types of tokens, and XLNet gives no vectors of texts.
    const isEmbedder = !["greedy.ids", "basic.token_type_ids"].some(arrays.has);
    if (arrays.has("basic.hidden_states") && isEmbedder)
      test("heddle embed is the mean of the last hidden states", async () => {
        const [, length = 1, width = 1] = arrays.get("basic.hidden_states").shape;
        const last = [...arrays.get("basic.hidden_states").data.slice(-length * width)];
        const mean = Array.from({ length: width }, (_, at) => {
          const column = last.filter((__, place) => place % width === at);
          return column.reduce((sum, value) => sum + value, 0) / length;
        });
        const ids = JSON.stringify(rows(arrays.get("basic.input_ids")).slice(0, 1));
        const [vector] = await run(["embed", ...model, "--device", device, "--ids", ids, "--no-normalize"]);
        const { embedding } = vector as { embedding: number[] };
        expect(greatestError(embedding, { shape: [width], data: Float64Array.from(mean) })).toBeLessThan(
          2e-4,
        );
      });
  });
});

test("the program itself, as a process", async () => {
  const cli = await buildCli();
  for (const name of ["llama", "mamba", "whisper", "bert"].filter((one) => names.includes(one))) {
    const golden = openGolden(name);
    const args = ["logits", "--model", join(folder, name), ...inputsOf(golden, "basic")];
    const { code, out, errors } = await cli.run(args);
    expect({ code, errors }).toEqual({ code: 0, errors: "" });
    const error = greatestError(flat(JSON.parse(out).logits), golden.arrays.get("basic.logits"));
    expect(error).toBeLessThanOrEqual(golden.tolerance("basic"));
  }
  cli.dispose();
});
