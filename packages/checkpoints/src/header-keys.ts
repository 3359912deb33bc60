const quote = 0x22;
const backslash = 0x5c;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const colon = 0x3a;

/** A key that occurs twice in one JSON object. `byte` is where the second one begins. */
export interface RepeatedKey {
  readonly key: string;
  readonly byte: number;
}

/**
 * Finds the first key that occurs twice in an object of a JSON text. `JSON.parse` would keep the last one silently.
 *
 * @param json  bytes of a text that `JSON.parse` accepts
 */
export function findRepeatedKey(json: Uint8Array): RepeatedKey | undefined {
  const open: (Set<string> | undefined)[] = []; // one entry a nesting level; arrays have no keys
  for (let at = 0; at < json.length; at++) {
    const byte = json[at];
    if (byte === openBrace) open.push(new Set());
    else if (byte === openBracket) open.push(undefined);
    else if (byte === closeBrace || byte === closeBracket) open.pop();
    else if (byte === quote) {
      const end = stringEnd(json, at);
      const keys = open.at(-1);
      if (keys !== undefined && isKey(json, end)) {
        const key = String(JSON.parse(new TextDecoder().decode(json.subarray(at, end))));
        if (keys.has(key)) return { key, byte: at };
        keys.add(key);
      }
      at = end - 1;
    }
  }
  return undefined;
}

/** Index after the closing quote of the string that begins at `start`. */
function stringEnd(json: Uint8Array, start: number): number {
  let at = start + 1;
  while (at < json.length && json[at] !== quote) at += json[at] === backslash ? 2 : 1;
  return at + 1;
}

/** Tells whether a colon follows: then the string before it was a key. */
function isKey(json: Uint8Array, end: number): boolean {
  let at = end;
  while (at < json.length && (json[at] ?? 0) <= 0x20) at++;
  return json[at] === colon;
}
