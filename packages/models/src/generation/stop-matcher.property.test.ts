import fc from "fast-check";
import { expect, test } from "vitest";
import { createStopMatcher } from "./stop-matcher.js";

const text = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 12 });

test("pieces give what the whole text up to its first stop string is", () => {
  fc.assert(
    fc.property(
      fc.array(text),
      fc.array(
        text.filter((stop) => stop !== ""),
        { maxLength: 3 },
      ),
      (pieces, stops) => {
        const matcher = createStopMatcher(stops);
        let out = "";
        let stopped = false;
        for (const piece of pieces) {
          const result = matcher.push(piece);
          out += result.emit;
          stopped = result.stopped;
        }
        out += matcher.flush();
        // A stop string is seen as soon as it is complete: of two that overlap, the one that ends first.
        const whole = pieces.join("");
        expect(stopped).toBe(stops.some((stop) => whole.includes(stop)));
        expect(stops.some((stop) => out.includes(stop))).toBe(false);
        expect(whole.startsWith(out)).toBe(true);
        if (!stopped) expect(out).toBe(whole);
      },
    ),
    { numRuns: 500 },
  );
});
