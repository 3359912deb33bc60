// Makes the training and held-out texts of the embedded model out of three TinyStories files:
//
//   node training/prepare-text.ts FOLDER OUT
//
// FOLDER holds v1_train_10k_lines.txt and v2_train_head_2MiB.txt (original case, stories between <|endoftext|>) and
// v2_train_head_4MiB_lowercase.txt (lower case, no separators), whose first half repeats the second file. Its second half is
// used too: capitals are restored from the cased files, and a paragraph that begins like a story begins one.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const separator = "<|endoftext|>";
const [folder = ".", out = "."] = process.argv.slice(2);
const read = (name: string) => readFileSync(join(folder, name), "utf8");

/** Straight quotes, single line breaks, no trailing blanks: one spelling for what the model shall write. */
function tidy(text: string): string {
  return text
    .replace(/[“”]/g, '"')
    .replace(/[‘’]/g, "'")
    .replace(/[–—]/g, "-")
    .replace(/…/g, "...")
    .replace(/[^\n\x20-\x7e]/g, "")
    .replace(/[ \t]+/g, " ")
    .replace(/ ?\n ?/g, "\n")
    .replace(/\n{2,}/g, "\n")
    .trim();
}

/** Whole stories of a cased file; the last one may be cut off and is left out. */
const storiesOf = (text: string) =>
  text
    .split(separator)
    .slice(0, -1)
    .map(tidy)
    .filter((story) => story.length > 100);

/** Words that stand in the middle of a sentence with a capital more often than without. */
function namesIn(texts: readonly string[]): Set<string> {
  const counts = new Map<string, { upper: number; lower: number }>();
  for (const text of texts) {
    for (const [, word = ""] of text.matchAll(/[a-z,] ([A-Za-z]+)/g)) {
      const key = word.toLowerCase();
      const count = counts.get(key) ?? { upper: 0, lower: 0 };
      if (word === key) count.lower++;
      else count.upper++;
      counts.set(key, count);
    }
  }
  return new Set(
    [...counts].flatMap(([word, { upper, lower }]) => (upper > 1 && upper > lower ? [word] : [])),
  );
}

/** Puts capitals at the beginning of sentences and speeches, on names and on "I". */
function withCapitals(text: string, names: ReadonlySet<string>): string {
  return text
    .replace(/[a-z]+/g, (word) => (names.has(word) ? (word[0] ?? "").toUpperCase() + word.slice(1) : word))
    .replace(
      /(^|\n|[.!?]"? "?|(?:^|[ \n])")([a-z])/g,
      (_, before: string, letter: string) => before + letter.toUpperCase(),
    )
    .replace(/\bi\b/g, "I");
}

const beginsStory =
  /^(once upon a time|once,? there|there (was|were) (once|a|an|two)\b|one (sunny |hot |cold |rainy |warm )?day,? (a|an|two|there|in a)\b|[a-z]+ (was|is) (a|an) [a-z ]+(girl|boy|dog|cat|bear|bird|bunny|rabbit)\b|[a-z]+ and [a-z]+ (were|are|like|liked|love|loved)\b|[a-z]+ (liked|likes|loved|loves|had|wanted) )/;

/** Stories of the lower-case file after the part that the cased file repeats. */
function lowerCaseStories(text: string, cased: readonly string[], names: ReadonlySet<string>): string[] {
  const lastKnown = (cased.at(-1) ?? "").toLowerCase().slice(-60);
  const paragraphs = text.replace(/\n+/g, "\n").split("\n");
  const known = paragraphs.findLastIndex(
    (paragraph) => paragraph.length > 20 && lastKnown.endsWith(paragraph.slice(-20)),
  );
  if (known < 0) throw new Error("the lower-case file does not continue the cased one");
  const stories: string[][] = [];
  for (const paragraph of paragraphs.slice(known + 1)) {
    if (beginsStory.test(paragraph) || stories.length === 0) stories.push([]);
    stories.at(-1)?.push(paragraph);
  }
  return stories
    .slice(1, -1)
    .map((story) => withCapitals(tidy(story.join("\n")), names))
    .filter((story) => story.length > 200);
}

const second = storiesOf(read("v2_train_head_2MiB.txt"));
const first = storiesOf(read("v1_train_10k_lines.txt"));
const names = namesIn([...first, ...second]);
const third = lowerCaseStories(read("v2_train_head_4MiB_lowercase.txt"), second, names);

// Every 50th cased story is held out: never trained on, in the case and with the separators of the original.
const cased = [...first, ...second];
const heldOut = cased.filter((_, i) => i % 50 === 49);
const training = [...cased.filter((_, i) => i % 50 !== 49), ...third];
mkdirSync(out, { recursive: true });
writeFileSync(join(out, "train.txt"), training.join(`\n${separator}\n`));
writeFileSync(join(out, "held-out.txt"), heldOut.join(`\n${separator}\n`));
console.log(
  `${training.length} stories to train on (${third.length} of them with restored capitals), ${heldOut.length} held out`,
);
