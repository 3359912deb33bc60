import { HeddleError } from "../error.js";

/** Checks of what stands in a file, whose errors name the function that reads it. */
export interface FieldChecks {
  /** The error for a field of the wrong form. */
  badField(path: string, expected: string, value: unknown): HeddleError;
  requireObject(value: unknown, path: string): Readonly<Record<string, unknown>>;
  requireArray(value: unknown, path: string): readonly unknown[];
}

/** @param caller  the exported function that reads the file */
export function createFieldChecks(caller: string): FieldChecks {
  const badField = (path: string, expected: string, value: unknown): HeddleError => {
    const shown = JSON.stringify(value)?.slice(0, 80) ?? String(value);
    return new HeddleError(
      "format",
      `${caller}: ${path} must be ${expected}; got ${shown}. Correct the file.`,
      { path, value },
    );
  };
  return {
    badField,
    requireObject(value, path) {
      if (typeof value !== "object" || value === null || Array.isArray(value))
        throw badField(path, "an object", value);
      return value as Readonly<Record<string, unknown>>;
    },
    requireArray(value, path) {
      if (!Array.isArray(value)) throw badField(path, "an array", value);
      return value;
    },
  };
}

/** Throws HeddleError "unsupported" naming a field that would be passed over and where it stands. */
export type RefuseUnknownFields = (
  object: Readonly<Record<string, unknown>>,
  path: string,
  known: readonly string[],
) => void;

/** Not one of the checks above, so that a bundle whose files may hold further fields lacks it. */
export function createUnknownFieldsCheck(caller: string): RefuseUnknownFields {
  return (object, path, known) => {
    const field = Object.keys(object).find((key) => !known.includes(key));
    if (field === undefined) return;
    throw new HeddleError(
      "unsupported",
      `${caller}: ${path} has a field that Heddle does not know; got ${JSON.stringify(field)}. Known: ${known.join(", ") || "none"}.`,
      { path, field },
    );
  };
}
