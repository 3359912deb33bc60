import type { FieldChecks } from "./field-checks.js";

/** Reads a vocabulary: an object from token to id. */
export function readVocab(
  json: unknown,
  { badField, requireObject }: FieldChecks,
): (readonly [string, number])[] {
  const entries = Object.entries(requireObject(json, "model.vocab"));
  for (const [token, id] of entries) {
    if (!Number.isInteger(id)) throw badField(`model.vocab[${JSON.stringify(token)}]`, "a whole number", id);
  }
  return (entries as [string, number][]).sort((a, b) => a[1] - b[1]);
}

/** Merges are pairs, or in older files strings with one space. */
export function readMerges(
  json: unknown,
  { badField, requireArray }: FieldChecks,
): (readonly [string, string])[] {
  return requireArray(json, "model.merges").map((merge, i) => {
    const pair = typeof merge === "string" ? merge.split(" ") : merge;
    if (
      !Array.isArray(pair) ||
      pair.length !== 2 ||
      typeof pair[0] !== "string" ||
      typeof pair[1] !== "string"
    ) {
      throw badField(`model.merges[${i}]`, "a pair of tokens", merge);
    }
    return [pair[0], pair[1]] as const;
  });
}
