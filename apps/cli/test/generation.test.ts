// How `heddle generate` chooses tokens, on the embedded model.
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildCli, type Cli } from "./cli.js";

const place: { cli?: Cli } = {};
const run = (args: readonly string[]) => {
  if (place.cli === undefined) throw new Error("the program was not built");
  return place.cli.run(args);
};

beforeAll(async () => {
  place.cli = await buildCli();
});
afterAll(() => place.cli?.dispose());

const base = () => ["generate", "--prompt", "Once upon a time", "--threads", "1"];

interface TokenFacts {
  id: number;
  logprob: number;
  top: { id: number; logprob: number }[];
}

test("cuts, bans and forces as the library does", async () => {
  const greedy = [...base(), "--temperature", "0", "--max-tokens", "8", "--json"];
  const answerOf = async (...args: string[]) => {
    const { code, out, errors } = await run([...greedy, ...args]);
    expect({ code, errors }).toEqual({ code: 0, errors: "" });
    return JSON.parse(out) as { text: string; ids: number[]; logprobs: TokenFacts[] };
  };
  const plain = await answerOf("--logprobs", "2");
  expect(plain.logprobs.map(({ id }) => id)).toEqual(plain.ids);
  for (const { id, logprob, top } of plain.logprobs) {
    expect(top.length).toBe(2);
    expect(top[0]).toEqual({ id, logprob });
  }
  const [first = 0] = plain.ids;
  expect((await answerOf("--suppress-tokens", `[${first}]`)).ids).not.toContain(first);
  expect((await answerOf("--bad-words", `[[${first}]]`)).ids).not.toContain(first);
  // A word of the text, which has a space before it.
  const word = plain.text.split(" ").at(-1) ?? "";
  const banned = await answerOf("--bad-words", JSON.stringify([word]));
  expect(plain.text).toMatch(new RegExp(` ${word}$`));
  expect(banned.text).not.toMatch(new RegExp(` ${word}$`));
  const forced = await answerOf("--forced-tokens", "[[0, 9], [3, 11]]");
  expect([forced.ids[0], forced.ids[3]]).toEqual([9, 11]);
  // Each cut leaves the likeliest token alone.
  const drawn = [...base(), "--max-tokens", "8", "--json", "--temperature", "1", "--seed", "3"];
  for (const cut of [
    ["--top-h", "0.0001"],
    ["--epsilon-cutoff", "1"],
    ["--top-n-sigma", "0.0001"],
    ["--top-k", "1"],
  ])
    expect(JSON.parse((await run([...drawn, ...cut])).out).ids, cut[0]).toEqual(plain.ids);
  const { ids: excluded } = JSON.parse(
    (await run([...drawn, "--top-k", "2", "--xtc-probability", "1", "--xtc-threshold", "0.0001"])).out,
  );
  expect(excluded[0]).toBe(plain.logprobs[0]?.top[1]?.id);
});

test("searches for texts by beams and by contrast, with the options that they honour", async () => {
  const searched = async (...args: string[]) => {
    const { code, out, errors } = await run([...base(), "--max-tokens", "6", "--json", ...args]);
    expect({ code, errors }).toEqual({ code: 0, errors: "" });
    return out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { ids: number[]; text: string; score?: number });
  };
  const { ids: greedy } = JSON.parse(
    (await run([...base(), "--max-tokens", "6", "--temperature", "0", "--ignore-eos", "--json"])).out,
  );
  const ends = "--ignore-eos";
  expect((await searched("--beams", "1", ends))[0]?.ids).toEqual(greedy);
  expect((await searched("--penalty-alpha", "0", "--top-k", "3", ends))[0]?.ids).toEqual(greedy);
  const best = await searched("--beams", "3", "--num-returned", "3", "--length-penalty", "0.5", ends);
  const scores = best.map(({ score = Number.NaN }) => score);
  expect(scores).toEqual(scores.toSorted((a, b) => b - a));
  expect(new Set(best.map(({ text }) => text)).size).toBe(3);
  const [flat] = await searched("--beams", "3", "--length-penalty", "0", "--early-stopping", "never", ends);
  expect((flat?.score ?? 0) / 6 ** 0.5).toBeCloseTo(scores[0] ?? Number.NaN, 6);
  const ban = ["--suppress-tokens", `[${greedy[0]}]`, "--repetition-penalty", "1.2"];
  for (const way of [
    ["--beams", "2"],
    ["--penalty-alpha", "0.6"],
  ]) {
    const [answer] = await searched(...way, ...ban, ends, "--forced-tokens", "[[1, 9]]");
    expect(answer?.ids).not.toContain(greedy[0]);
    expect(answer?.ids[1]).toBe(9);
  }
});
