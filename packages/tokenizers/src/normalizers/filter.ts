import { type Rewrite, RewriteBuilder } from "../aligned-text.js";

/** Keeps the characters (code points) that `keep` accepts; null if it accepts all of them. */
export function filterText(text: string, keep: (char: string) => boolean): Rewrite | null {
  const builder = new RewriteBuilder();
  let keptFrom = 0;
  let at = 0;
  for (const char of text) {
    if (!keep(char)) {
      builder.keep(text, keptFrom, at);
      keptFrom = at + char.length;
    }
    at += char.length;
  }
  if (keptFrom === 0) return null;
  builder.keep(text, keptFrom, text.length);
  return builder.finish();
}

/** Applies a map that keeps every unit in its place on top of an earlier rewrite of `text` (null: none). */
export function mapText(text: string, earlier: Rewrite | null, map: (now: string) => string): Rewrite | null {
  const now = earlier?.text ?? text;
  const mapped = map(now);
  if (mapped === now) return earlier;
  return { text: mapped, source: earlier?.source ?? identitySource(now.length) };
}

/** Joins two rewrites: `second` was made of the result of `first`. */
export function chainRewrites(first: Rewrite | null, second: Rewrite | null): Rewrite | null {
  if (first === null || second === null) return first ?? second;
  return { text: second.text, source: second.source.map((unit) => first.source[unit] as number) };
}

function identitySource(length: number): Int32Array {
  return Int32Array.from({ length }, (_, k) => k);
}
