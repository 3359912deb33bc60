import type { ClassItem, RegexDialect } from "./syntax.js";

/** POSIX bracket classes as Oniguruma defines them for Unicode text. */
export const POSIX_CLASSES: Readonly<Record<string, string>> = {
  alpha: "\\p{Alphabetic}",
  digit: "\\p{Nd}",
  alnum: "\\p{Alphabetic}\\p{Nd}",
  upper: "\\p{Uppercase}",
  lower: "\\p{Lowercase}",
  space: "\\p{White_Space}",
  punct: "\\p{P}\\p{S}",
};

/** What `\w` means: the Unicode rule of Rust's regex, and the shorter one of Oniguruma. */
const WORD: Readonly<Record<RegexDialect, string>> = {
  rust: "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\u200c\\u200d",
  oniguruma: "\\p{L}\\p{M}\\p{Nd}\\p{Pc}",
};

/** Returns the class items behind `\s \S \d \D \w \W \h \H`, or null for another letter. */
export function shorthandItems(letter: string, dialect: RegexDialect): readonly ClassItem[] | null {
  switch (letter) {
    case "s":
      return [{ type: "property", source: "\\p{White_Space}" }];
    case "S":
      return [{ type: "property", source: "\\P{White_Space}" }];
    case "d":
      return [{ type: "property", source: "\\p{Nd}" }];
    case "D":
      return [{ type: "property", source: "\\P{Nd}" }];
    case "w":
      return [{ type: "property", source: WORD[dialect] }];
    case "W":
      return [
        {
          type: "set",
          set: { isNegated: true, items: [{ type: "property", source: WORD[dialect] }], intersect: [] },
        },
      ];
    default:
      return null;
  }
}

/** Writes a Unicode property for JavaScript, trying it as given, then as a script; null if neither exists. */
export function propertySource(name: string, isNegated: boolean): string | null {
  const letter = isNegated ? "P" : "p";
  const plain = name.replace(/[\s-]/g, "_");
  for (const candidate of [plain, `Script=${plain}`, LONG_NAMES[plain.toLowerCase()] ?? plain]) {
    const source = `\\${letter}{${candidate}}`;
    if (isValid(source)) return source;
  }
  return null;
}

/** Names that Oniguruma and Rust accept in any case. */
const LONG_NAMES: Readonly<Record<string, string>> = {
  alpha: "Alphabetic",
  digit: "Nd",
  space: "White_Space",
  upper: "Uppercase",
  lower: "Lowercase",
  punct: "P",
};

function isValid(source: string): boolean {
  try {
    new RegExp(source, "u");
    return true;
  } catch {
    return false;
  }
}
