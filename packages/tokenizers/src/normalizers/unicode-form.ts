import { type Rewrite, rewriteFromChanges } from "../aligned-text.js";

/** The four Unicode normalisation forms. */
export type UnicodeForm = "NFC" | "NFD" | "NFKC" | "NFKD";

/**
 * Normalises text and finds the source of each unit; null if the text is already in that form.
 *
 * The platform normalises, but does not say what became of which character. So the text is decomposed character by
 * character (the first part of each stands for it, the others are insertions), the parts are put into the platform's
 * canonical order (equal parts keep their order), and each composed character takes up its parts, first the first.
 *
 * @see Unicode Standard Annex 15. Alignment as in Hugging Face `tokenizers`.
 */
export function traceUnicodeForm(text: string, form: UnicodeForm): Rewrite | null {
  const normalized = text.normalize(form);
  if (normalized === text) return null;
  const decomposition = form === "NFC" || form === "NFD" ? "NFD" : "NFKD";
  const parts = decompose(text, decomposition);
  if (form === decomposition) return rewriteFromChanges(text, parts.characters, parts.changes);
  return compose(text, normalized, parts);
}

interface Parts {
  readonly characters: string[];
  readonly changes: number[];
}

/** All parts in canonical order; change 0 for the first part of a character, 1 for the others. */
function decompose(text: string, form: "NFD" | "NFKD"): Parts {
  const waiting = new Map<string, number[]>();
  for (const char of text) {
    let change = 0;
    for (const part of char.normalize(form)) {
      const queue = waiting.get(part);
      if (queue === undefined) waiting.set(part, [change]);
      else queue.push(change);
      change = 1;
    }
  }
  const characters = [...text.normalize(form)];
  const taken = new Map<string, number>();
  const changes = characters.map((part) => {
    const index = taken.get(part) ?? 0;
    taken.set(part, index + 1);
    return waiting.get(part)?.[index] ?? 0;
  });
  return { characters, changes };
}

function compose(text: string, normalized: string, parts: Parts): Rewrite {
  const isUsed = new Uint8Array(parts.characters.length);
  const characters: string[] = [];
  const changes: number[] = [];
  let first = 0;
  for (const char of normalized) {
    while (isUsed[first] === 1) first++;
    const elements = [...char.normalize("NFD")];
    let change = (parts.changes[first] ?? 0) + 1;
    let at = first;
    for (const element of elements) {
      while (at < parts.characters.length && (isUsed[at] === 1 || parts.characters[at] !== element)) at++;
      if (at >= parts.characters.length) break;
      isUsed[at] = 1;
      change += at === first ? -1 : (parts.changes[at] as number) - 1;
    }
    characters.push(char);
    changes.push(change);
  }
  return rewriteFromChanges(text, characters, changes);
}
