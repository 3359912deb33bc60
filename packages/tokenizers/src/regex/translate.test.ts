import { describe, expect, it } from "vitest";
import { escapeRegex, translateRegex } from "./translate.js";

const matches = (pattern: string, text: string, dialect: "oniguruma" | "rust" = "oniguruma") =>
  text.match(translateRegex(pattern, dialect)) ?? [];

describe("translateRegex", () => {
  it("gives white space and word characters their Unicode meaning", () => {
    expect(matches("\\s+", "a\u0085b\u3000\ufeffc")).toEqual(["\u0085", "\u3000"]);
    expect(matches("\\w+", "né_1 ٣-日本")).toEqual(["né_1", "٣", "日本"]);
    expect(matches("[^\\s\\w]+", "a!? é…")).toEqual(["!?", "…"]);
  });

  it("spells out case-insensitive groups", () => {
    expect(matches("(?i:'re|'s)", "'RE 're 'S 'ſ 'x")).toEqual(["'RE", "'re", "'S", "'ſ"]);
    expect(matches("(?i)ab[c-d]", "ABC abd aBx")).toEqual(["ABC", "abd"]);
    expect(matches("(?i:a(?-i:b))", "ab Ab aB")).toEqual(["ab", "Ab"]);
  });

  it("keeps possessive quantifiers and atomic groups", () => {
    expect(matches("a++a", "aaaa", "rust")).toEqual([]);
    expect(matches("(?>a|ab)c", "abc ac")).toEqual(["ac"]);
    expect(matches("a?+ab", "ab", "rust")).toEqual([]);
    expect(matches("a++1[1]", "aa11 a1", "rust")).toEqual(["aa11"]);
  });

  it("reads {1,3}+ as possessive for Rust and as a repeated repeat for Oniguruma", () => {
    expect(matches("\\d{1,3}+", "12345", "rust")).toEqual(["123", "45"]);
    expect(matches("\\d{1,3}+", "12345")).toEqual(["12345"]);
  });

  it("reads ^ and $ as lines for Oniguruma and as the text for Rust", () => {
    expect(matches("^a$", "a\na")).toEqual(["a", "a"]);
    expect(matches("^a$", "a\na", "rust")).toEqual([]);
    expect(matches("\\Aa", "a\na")).toEqual(["a"]);
  });

  it("knows properties, scripts, nested classes and intersections", () => {
    expect(matches("\\p{Han}+|\\p{^L}", "日本a1")).toEqual(["日本", "1"]);
    expect(matches("[\\p{L}&&[^\\p{Han}]]+", "ab日本cd")).toEqual(["ab", "cd"]);
    expect(matches("[a-c[0-9]]+", "ab1 d2")).toEqual(["ab1", "2"]);
    expect(matches("[[:alpha:]]+", "ab1é")).toEqual(["ab", "é"]);
    expect(matches("[\\]\\-a]+", "]-a b")).toEqual(["]-a"]);
    expect(matches("\\x{1F600}|\\u65e5", "😀日")).toEqual(["😀", "日"]);
  });

  it("escapes literal text", () => {
    const text = "a.b*(c)[d]{e}^$|\\/-+?";
    expect(text.match(new RegExp(escapeRegex(text), "u"))?.[0]).toBe(text);
  });

  it.each(["(a)\\1", "\\bword", "(?(1)a)", "[a", "a)", "*a", "\\p{Nonsense}", "(?i)\\p{Lu}", "a\\"])(
    "refuses %s by naming the construct",
    (pattern) => {
      let message = "";
      try {
        translateRegex(pattern, "oniguruma");
      } catch (error) {
        message = (error as Error).message;
      }
      expect(message).toMatchSnapshot();
    },
  );
});
