import { z } from "zod";

/** The keys that a schema knows at a path; those of all forms where there are several. */
export function knownKeys(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  const root = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as JsonSchema;
  const nodes = path.reduce<JsonSchema[]>(
    (found, key) => found.flatMap(forms).flatMap((node) => node.properties?.[String(key)] ?? []),
    [root],
  );
  return [...new Set(nodes.flatMap(forms).flatMap((node) => Object.keys(node.properties ?? {})))];
}

interface JsonSchema {
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
}

function forms(node: JsonSchema): JsonSchema[] {
  return [node, ...(node.anyOf ?? []), ...(node.oneOf ?? [])];
}

/** The known key that takes the fewest edits to become. */
export function nearestKey(key: string, known: readonly string[]): string | undefined {
  return known
    .map((name) => ({ name, edits: editDistance(key.toLowerCase(), name.toLowerCase()) }))
    .sort((a, b) => a.edits - b.edits)[0]?.name;
}

/** Insertions, deletions and replacements between two words. @see Levenshtein 1966 */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
