import { type Rewrite, RewriteBuilder } from "../aligned-text.js";

/** Lower-cases each character by itself, as Rust does: a capital sigma is always σ, also at the end of a word. */
export function lowercase(text: string): string {
  return (text.includes("Σ") ? text.replaceAll("Σ", "σ") : text).toLowerCase();
}

/** `lowercase` with the source of each unit; null if nothing changes. */
export function traceLowercase(text: string): Rewrite | null {
  if (lowercase(text) === text) return null;
  const builder = new RewriteBuilder();
  let at = 0;
  for (const char of text) {
    builder.put(lowercase(char), at);
    at += char.length;
  }
  return builder.finish();
}
