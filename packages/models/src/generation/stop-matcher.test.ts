import { expect, test } from "vitest";
import { createStopMatcher } from "./stop-matcher.js";

function run(stops: string[], pieces: string[]): { text: string; emits: string[]; stopped: boolean } {
  const matcher = createStopMatcher(stops);
  const emits: string[] = [];
  let stopped = false;
  for (const piece of pieces) {
    const result = matcher.push(piece);
    emits.push(result.emit);
    stopped = result.stopped;
  }
  emits.push(matcher.flush());
  return { text: emits.join(""), emits, stopped };
}

test("without stop strings everything passes at once", () => {
  expect(run([], ["ab", "c"]).emits).toEqual(["ab", "c", ""]);
});

test("text ends before the stop string, also where it arrives in pieces", () => {
  expect(run(["\nUser:"], ["Hi.\nUs", "er: no"])).toMatchObject({ text: "Hi.", stopped: true });
  expect(run(["aab"], ["a", "a", "a", "b"])).toMatchObject({ text: "a", stopped: true });
});

test("what may begin a stop string is held back, and given when it does not", () => {
  expect(run(["END"], ["xE", "N", "x"]).emits).toEqual(["x", "", "ENx", ""]);
  expect(run(["END"], ["xEN"]).emits).toEqual(["x", "EN"]);
});

test("the earliest of several stop strings counts", () => {
  expect(run(["later", "soon"], ["so", "on later"])).toMatchObject({ text: "", stopped: true });
});

test("after a stop nothing more comes out", () => {
  expect(run(["."], ["a.b", "c"]).emits).toEqual(["a", "", ""]);
});

test("an empty stop string is refused", () => {
  expect(() => createStopMatcher([""])).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: createStopMatcher: a stop string must have characters; got an empty one. Remove it.]`,
  );
});
