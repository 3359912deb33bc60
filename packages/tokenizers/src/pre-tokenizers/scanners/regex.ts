import { codePointLength } from "../../aligned-text.js";
import { compilePattern, type TextPattern } from "../../text-pattern.js";
import type { Scanner } from "./scanner.js";

/** Finds the words of any pattern with the platform's engine; only for whole texts (`limit` is the text's end). */
export function createRegexScanner(pattern: TextPattern): Scanner {
  const global = compilePattern(pattern);
  const sticky = new RegExp(global.source, global.flags.replace("g", "y"));
  let text = "";
  const nextStart = (at: number): number => {
    global.lastIndex = at;
    for (let match = global.exec(text); match !== null; match = global.exec(text)) {
      if (match.index > at) return match.index;
      // An empty match: look again behind it.
      global.lastIndex = Math.max(global.lastIndex, match.index + codePointLength(text, match.index));
    }
    return text.length;
  };
  return {
    isBounded: false,
    start(whole) {
      text = whole.slice(0);
    },
    next(_units, at) {
      sticky.lastIndex = at;
      return sticky.test(text) && sticky.lastIndex > at ? sticky.lastIndex : nextStart(at);
    },
  };
}
