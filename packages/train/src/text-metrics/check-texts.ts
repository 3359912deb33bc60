import { HeddleError } from "@heddle/tensor";

/** @throws HeddleError "shape" unless there is a reference, and every set has one for each hypothesis */
export function checkTexts(
  metric: string,
  hypotheses: readonly string[],
  references: readonly (readonly string[])[],
): void {
  const lengths = references.map((set) => set.length);
  if (lengths.length > 0 && lengths.every((length) => length === hypotheses.length)) return;
  const message = `${metric}: each set of references must have one for each of ${hypotheses.length} hypotheses; got ${references.length} sets of ${lengths.join(", ") || 0}. Pass [texts] for one set.`;
  throw new HeddleError("shape", message, { hypotheses: hypotheses.length, references: lengths });
}
