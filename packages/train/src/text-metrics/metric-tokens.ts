/** How BLEU cuts a text into words: the names that sacreBLEU gives. */
export type BleuTokenizer = "13a" | "intl" | "zh" | "char" | "none";

/** Cuts a line into words. Punctuation becomes words of its own, but for "none"; "char" gives characters. */
export function bleuWords(line: string, tokenizer: BleuTokenizer): string[] {
  switch (tokenizer) {
    case "13a":
      return words13a(line);
    case "intl":
      return wordsOf(
        line
          .replace(/(\P{N})(\p{P})/gu, "$1 $2 ")
          .replace(/(\p{P})(\P{N})/gu, " $1 $2")
          .replace(/(\p{S})/gu, " $1 "),
      );
    case "zh": {
      const spaced = Array.from(line.trim(), (char) => (isChinese(char) ? ` ${char} ` : char)).join("");
      return wordsOf(separatePunctuation(spaced));
    }
    case "char":
      return Array.from(line).filter((char) => !/\s/.test(char));
    case "none":
      return wordsOf(line);
    default:
      return tokenizer satisfies never;
  }
}

/** Words between white space. */
export function wordsOf(line: string): string[] {
  return line.split(/\s+/).filter((word) => word !== "");
}

/** The rules of the script mteval-v13a, which evaluations of machine translation share. */
function words13a(line: string): string[] {
  const joined = line.replaceAll("<skipped>", "").replaceAll("-\n", "").replaceAll("\n", " ");
  return wordsOf(separatePunctuation(` ${withoutEntities(joined)} `));
}

/** HTML's names of four characters, read. */
export function withoutEntities(line: string): string {
  return line
    .replaceAll("&quot;", '"')
    .replaceAll("&amp;", "&")
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">");
}

/** ASCII symbols; periods and commas that are in no number; dashes behind digits. */
function separatePunctuation(line: string): string {
  return separateMarks(separateSymbols(line));
}

export function separateSymbols(line: string): string {
  return line.replace(/([{-~[-` -&(-+:-@/])/g, " $1 ");
}

export function separateMarks(line: string): string {
  return line
    .replace(/([^0-9])([.,])/g, "$1 $2 ")
    .replace(/([.,])([^0-9])/g, " $1 $2")
    .replace(/([0-9])(-)/g, "$1 $2 ");
}

/**
 * Blocks of characters that stand alone in Chinese text. As in sacreBLEU, whose bounds of five digits are read as a character and a
 * digit, so that all from U+2001 to U+2A6D counts.
 */
const chinese: readonly (readonly [number, number])[] = [
  [0x2001, 0x2a6d],
  [0x2e80, 0x2eff],
  [0x2f00, 0x2fdf],
  [0x2ff0, 0x2fff],
  [0x3000, 0x303f],
  [0x3100, 0x312f],
  [0x31a0, 0x31bf],
  [0x31c0, 0x31ef],
  [0x3200, 0x33ff],
  [0x3400, 0x4db5],
  [0x4e00, 0x9fbb],
  [0xf900, 0xfa2d],
  [0xfa30, 0xfa6a],
  [0xfa70, 0xfad9],
  [0xfe10, 0xfe1f],
  [0xfe30, 0xfe4f],
  [0xff00, 0xffef],
];

function isChinese(char: string): boolean {
  const code = char.codePointAt(0) ?? 0;
  return chinese.some(([first, last]) => first <= code && code <= last);
}
