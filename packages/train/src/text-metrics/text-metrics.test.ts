import { describe, expect, test } from "vitest";
import { readGoldenJson } from "../../test/golden/read.js";
import { type BleuOptions, bleu } from "./bleu.js";
import { type ChrfOptions, chrf } from "./chrf.js";
import { editPath } from "./edit-path.js";
import { ter } from "./ter.js";

interface Golden {
  readonly sets: Readonly<
    Record<
      string,
      {
        readonly hypotheses: readonly string[];
        readonly references: readonly (readonly string[])[];
        readonly corpus: Readonly<
          Record<
            string,
            {
              readonly score: number;
              readonly counts?: readonly number[];
              readonly totals?: readonly number[];
              readonly precisions?: readonly number[];
              readonly bp?: number;
              readonly sys_len?: number;
              readonly ref_len?: number;
            }
          >
        >;
        readonly sentence: readonly Readonly<Record<"bleu" | "chrf" | "chrf_pp" | "ter", number>>[];
      }
    >
  >;
}

const golden = readGoldenJson<Golden>("eval/sacrebleu.json");

const bleuCases: Readonly<Record<string, BleuOptions>> = {
  bleu_13a: {},
  bleu_lc: { isLowercased: true },
  bleu_char: { tokenizer: "char" },
  bleu_none: { tokenizer: "none" },
  bleu_intl: { tokenizer: "intl" },
  bleu_zh: { tokenizer: "zh" },
  bleu_floor: { smoothing: "floor" },
  bleu_addk: { smoothing: "add-k" },
  bleu_nosmooth: { smoothing: "none" },
};
const chrfCases: Readonly<Record<string, ChrfOptions>> = {
  chrf: {},
  chrf_pp: { wordOrder: 2 },
  chrf_beta3_eps: { beta: 3, usesEpsilon: true },
  chrf_ws: { keepsSpaces: true },
};

/** Scores agree to 1e-6 of each other. */
function expectClose(actual: number, wanted: number): void {
  expect(Math.abs(actual - wanted)).toBeLessThanOrEqual(1e-6 * Math.max(1, Math.abs(wanted)));
}

describe.each(Object.entries(golden.sets))("%s", (_, { hypotheses, references, corpus, sentence }) => {
  test.each(Object.entries(corpus))("%s", (name, wanted) => {
    if (name.startsWith("bleu")) {
      const found = bleu(hypotheses, references, bleuCases[name] ?? {});
      expect(bleuCases[name]).toBeDefined();
      expectClose(found.score, wanted.score);
      expect(found.counts).toEqual(wanted.counts);
      expect(found.totals).toEqual(wanted.totals);
      for (const [at, precision] of found.precisions.entries())
        expectClose(precision, wanted.precisions?.[at] ?? Number.NaN);
      expectClose(found.brevityPenalty, wanted.bp ?? Number.NaN);
      expect([found.hypothesisLength, found.referenceLength]).toEqual([wanted.sys_len, wanted.ref_len]);
    } else if (name.startsWith("chrf")) {
      expect(chrfCases[name]).toBeDefined();
      expectClose(chrf(hypotheses, references, chrfCases[name]), wanted.score);
    } else {
      expect(["ter", "ter_norm"]).toContain(name);
      expectClose(ter(hypotheses, references, { isNormalized: name === "ter_norm" }), wanted.score);
    }
  });

  test("sentence by sentence", () => {
    for (const [at, wanted] of sentence.entries()) {
      const [own, others] = [[hypotheses[at] ?? ""], references.map((set) => [set[at] ?? ""])];
      expectClose(bleu(own, others, { usesEffectiveOrder: true }).score, wanted.bleu);
      expectClose(chrf(own, others), wanted.chrf);
      expectClose(chrf(own, others, { wordOrder: 2 }), wanted.chrf_pp);
      expectClose(ter(own, others), wanted.ter);
    }
  });
});

test("a shifted phrase is one edit, whatever its length", () => {
  // Snover et al. 2006, section 3: a shift moves the phrase, then what is left is substituted or inserted.
  expect(ter(["c d e a b"], [["a b c d e"]])).toBeCloseTo(20, 10);
  expect(ter(["this week the saudis denied"], [["saudi arabia denied this week"]])).toBeCloseTo(60, 10);
  expect(ter(["", "a"], [["", ""]])).toBe(100);
  expect(ter([""], [[""]])).toBe(0);
});

test("the fewest edits are those of all ways to edit", () => {
  const fewest = (a: readonly string[], b: readonly string[]): number => {
    const [[x, ...as], [y, ...bs]] = [a, b];
    if (x === undefined || y === undefined) return a.length + b.length;
    return Math.min(fewest(as, b) + 1, fewest(a, bs) + 1, fewest(as, bs) + (x === y ? 0 : 1));
  };
  for (let seed = 0; seed < 60; seed++) {
    const word = (at: number) => "abc"[Math.floor(((seed + 1) * 7919 * (at + 3)) / 13) % 3] ?? "a";
    const a = Array.from({ length: seed % 6 }, (_, at) => word(at));
    const b = Array.from({ length: (seed * 5) % 7 }, (_, at) => word(at + 11));
    expect(editPath(a, b).cost).toBe(fewest(a, b));
  }
});

test("errors name the rule, the values and the cure", () => {
  expect(() => bleu(["a", "b"], [["a"]])).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: bleu: each set of references must have one for each of 2 hypotheses; got 1 sets of 1. Pass [texts] for one set.]`,
  );
  expect(() => ter(["a"], [])).toThrow("got 0 sets of 0");
});
