import type { GgufValue } from "@heddle/checkpoints";
import { HeddleError } from "@heddle/tensor";

/** Reads the metadata of a GGUF file; a key that begins with "." stands behind the name of the architecture. */
export interface GgufFields {
  readonly architecture: string;
  has(key: string): boolean;
  number(key: string): number;
  optionalNumber(key: string): number | undefined;
  optionalText(key: string): string | undefined;
  optionalFlag(key: string): boolean | undefined;
  optionalNumbers(key: string): readonly number[] | undefined;
  /** Where an array of numbers has this one; nowhere without such a field. */
  placesOf(key: string, number: number): readonly number[];
  optionalTexts(key: string): readonly string[] | undefined;
  /** One item of an array of strings. */
  optionalTextAt(key: string, index: number): string | undefined;
}

/**
 * Wraps the metadata of a GGUF file.
 *
 * @throws HeddleError "format" naming the field where it is missing or of another type
 */
export function ggufFields(metadata: ReadonlyMap<string, GgufValue>): GgufFields {
  const architecture = textOf(metadata, "general.architecture");
  if (architecture === undefined) throw badField("general.architecture", "name the architecture", undefined);
  const nameOf = (key: string) => (key.startsWith(".") ? architecture + key : key);
  const optionalNumber = (key: string) => numberOf(metadata, nameOf(key));
  return {
    architecture,
    has: (key) => metadata.has(nameOf(key)),
    optionalNumber,
    number(key) {
      const found = optionalNumber(key);
      if (found === undefined) throw badField(nameOf(key), "be there", undefined);
      return found;
    },
    optionalText: (key) => textOf(metadata, nameOf(key)),
    optionalFlag(key) {
      const field = metadata.get(nameOf(key));
      if (field === undefined || field.type === "bool") return field?.value;
      throw badField(nameOf(key), "be a bool", field);
    },
    optionalNumbers: (key) => listOf(metadata, nameOf(key), "number") as readonly number[] | undefined,
    placesOf(key, number) {
      const name = nameOf(key);
      const field = metadata.get(name);
      const kept = field?.type === "array" && "numbers" in field ? field.numbers : undefined;
      const numbers = kept ?? (listOf(metadata, name, "number") as readonly number[] | undefined) ?? [];
      const places: number[] = [];
      for (let i = 0; i < numbers.length; i++) if (numbers[i] === number) places.push(i);
      return places;
    },
    optionalTexts: (key) => listOf(metadata, nameOf(key), "string") as readonly string[] | undefined,
    optionalTextAt(key, index) {
      const field = metadata.get(nameOf(key));
      if (field === undefined) return undefined;
      if (field.type !== "array" || field.itemType !== "string")
        throw badField(nameOf(key), "be an array of strings", field);
      return field.item === undefined ? field.value[index] : field.item(index);
    },
  };
}

function textOf(metadata: ReadonlyMap<string, GgufValue>, name: string): string | undefined {
  const field = metadata.get(name);
  if (field === undefined || field.type === "string") return field?.value;
  throw badField(name, "be a string", field);
}

/** A number of any type; some are stored once for each layer, which is the same where all are equal. */
function numberOf(metadata: ReadonlyMap<string, GgufValue>, name: string): number | undefined {
  const field = metadata.get(name);
  if (field === undefined || typeof field.value === "number") return field?.value;
  if (typeof field.value === "bigint") return Number(field.value);
  if (
    field.type === "array" &&
    typeof field.value[0] === "number" &&
    new Set<unknown>(field.value).size === 1
  ) {
    return field.value[0];
  }
  throw badField(name, "be one number", field);
}

function listOf(
  metadata: ReadonlyMap<string, GgufValue>,
  name: string,
  kind: "number" | "string",
): readonly unknown[] | undefined {
  const field = metadata.get(name);
  if (field === undefined) return undefined;
  // The reader gives arrays whose items are all of one type.
  const isText = field.type === "array" && field.itemType === "string";
  const isSuch =
    (isText && kind === "string") ||
    (field.type === "array" && !isText && (field.value.length === 0 || typeof field.value[0] === kind));
  if (isSuch) return field.value;
  throw badField(name, `be an array of ${kind}s`, field);
}

/** The error of a field that does not describe a model. */
export function badField(name: string, rule: string, field: GgufValue | undefined): HeddleError {
  const got = field === undefined ? "none" : `${field.type} ${shown(field.value)}`;
  const message = `loadGguf: field "${name}" must ${rule}; got ${got}. Convert the model to GGUF again.`;
  return new HeddleError("format", message, { field: name });
}

function shown(value: unknown): string {
  const text = Array.isArray(value) ? `of ${value.length}` : String(value);
  return text.length <= 60 ? text : `${text.slice(0, 57)}...`;
}
