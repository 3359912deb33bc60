import { expect, it } from "vitest";
import { formatPercent, rankedAlternatives, visibleToken } from "./token-format.js";

it("makes spaces visible", () => {
  expect([" fox", "\n\n", "", "\t"].map(visibleToken)).toEqual(["␣fox", "⏎⏎", "(empty)", "⇥"]);
});

it("writes percentages with few digits", () => {
  expect([1, 0.9996, 0.42, 0.0312, 0.0001].map(formatPercent)).toEqual([
    "100%",
    "100%",
    "42%",
    "3.1%",
    "<0.1%",
  ]);
});

it("ranks the chosen token among its alternatives, once", () => {
  const top = [
    { id: 1, token: "a", logprob: -0.1 },
    { id: 2, token: "b", logprob: -3 },
  ];
  const unlikely = rankedAlternatives({ id: 9, token: "z", logprob: -2, top });
  expect(unlikely.map(({ id, isChosen }) => [id, isChosen])).toEqual([
    [1, false],
    [9, true],
    [2, false],
  ]);
  expect(rankedAlternatives({ id: 2, token: "b", logprob: -3, top }).map(({ id }) => id)).toEqual([1, 2]);
});
