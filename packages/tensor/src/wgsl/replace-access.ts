/** Gives a name another, but for members of that name. */
export const rename = (text: string, name: string, to: string) =>
  text.replaceAll(new RegExp(`(?<![.\\w])${name}\\b`, "g"), to);

/** What stands for reading and for writing an element; both get the text of the index. */
export interface AccessText {
  readonly read: (index: string) => string;
  readonly write: (index: string, value: string) => string;
}

/**
 * Replaces each `NAME[index]` of a WGSL text, and each `NAME[index] = value;`. Undefined where the array is used otherwise: through
 * a pointer, as a whole, or with part of an element assigned.
 */
export function replaceAccess(text: string, name: string, access: AccessText): string | undefined {
  const found = new RegExp(`(&\\s*)?(?<![.\\w])${name}\\b`).exec(text);
  if (found === null) return text;
  const open = found.index + found[0].length;
  if (found[1] !== undefined || text[open] !== "[") return undefined;
  const close = closingBracket(text, open);
  const index = replaceAccess(text.slice(open + 1, close), name, access);
  if (index === undefined) return undefined;
  const before = text.slice(0, found.index);
  const after = text.slice(close + 1);
  const assigned = /^\s*=(?!=)/.exec(after);
  if (assigned === null) {
    if (/^((\.\w+|\[[^\]]*\])\s*=(?!=)|\s*([-+*/%&|^]|<<|>>)=)/.test(after)) return undefined;
    const rest = replaceAccess(after, name, access);
    return rest === undefined ? undefined : `${before}${access.read(index)}${rest}`;
  }
  const end = after.indexOf(";");
  const value = replaceAccess(after.slice(assigned[0].length, end).trim(), name, access);
  const rest = replaceAccess(after.slice(end), name, access);
  if (value === undefined || rest === undefined) return undefined;
  return `${before}${access.write(index, value)}${rest}`;
}

function closingBracket(text: string, open: number): number {
  let depth = 0;
  for (let at = open; at < text.length; at++) {
    if (text[at] === "[") depth++;
    else if (text[at] === "]" && --depth === 0) return at;
  }
  return text.length;
}
