import { HeddleError } from "../error.js";
import {
  createFieldChecks,
  createUnknownFieldsCheck,
  type FieldChecks,
  type RefuseUnknownFields,
} from "./field-checks.js";

/** How one field of a component is read from JSON and written to it. */
export interface Field {
  /** Value where the file leaves the field out; undefined: the file must give it. */
  readonly fallback?: unknown;
  read(value: unknown, path: string): unknown;
  write(value: unknown): unknown;
}

/** The fields of each component of one kind by its type, in camel case. */
export type ComponentFields = Readonly<Record<string, Readonly<Record<string, Field>>>>;

function plainField<Value>(expected: string, isValid: (value: unknown) => value is Value) {
  return (fallback?: Value): Field => ({
    ...(fallback === undefined ? {} : { fallback }),
    read(value, path) {
      if (!isValid(value)) throw badField(path, expected, value);
      return value;
    },
    write: (value) => value,
  });
}

export const text = plainField("a string", (value) => typeof value === "string");
export const flag = plainField("true or false", (value) => typeof value === "boolean");
export const optionalFlag = plainField(
  "true, false or null",
  (value): value is boolean | null => value === null || typeof value === "boolean",
);
export const count = plainField("a whole number", (value): value is number => Number.isInteger(value));

/** A string out of a closed list. */
export function choice<Value extends string>(values: readonly Value[], fallback?: Value): Field {
  const isValid = (value: unknown): value is Value => values.some((allowed) => allowed === value);
  return plainField(`one of ${values.join(", ")}`, isValid)(fallback);
}

/** The checks of `fromTokenizerJson`. */
export const jsonChecks: FieldChecks = createFieldChecks("fromTokenizerJson");
export const { badField, requireObject, requireArray }: FieldChecks = jsonChecks;

/** Refuses what `fromTokenizerJson` would pass over. */
export const refuseUnknownFields: RefuseUnknownFields = createUnknownFieldsCheck("fromTokenizerJson");

/**
 * Reads a component (`{"type": ..., ...}`) by the table of its kind.
 *
 * @throws HeddleError "unsupported" naming an unknown type or field, "format" naming a missing or malformed one
 */
export function readComponent(fields: ComponentFields, json: unknown, path: string): Record<string, unknown> {
  const object = requireObject(json, path);
  const type = object.type;
  const table = typeof type === "string" && Object.hasOwn(fields, type) ? fields[type] : undefined;
  if (table === undefined) {
    throw new HeddleError(
      "unsupported",
      `fromTokenizerJson: ${path}.type must be a component that Heddle knows; got ${JSON.stringify(type)}. Known: ${Object.keys(fields).join(", ")}.`,
      { path, type },
    );
  }
  const known = new Map(Object.keys(table).map((name) => [toSnakeCase(name), name]));
  const fieldNames = ["type", ...known.keys(), ...(IGNORED_FIELDS[String(type)] ?? [])];
  refuseUnknownFields(object, `${path} of type ${String(type)}`, fieldNames);
  const component: Record<string, unknown> = { type };
  for (const [key, name] of known) {
    const field = table[name] as Field;
    const isAbsent = object[key] === undefined;
    if (isAbsent && field.fallback === undefined) throw badField(`${path}.${key}`, "given", undefined);
    component[name] = isAbsent ? field.fallback : field.read(object[key], `${path}.${key}`);
  }
  return component;
}

/** Fields of older files that say the same as another field, or nothing. */
const IGNORED_FIELDS: Readonly<Record<string, readonly string[]>> = {
  Metaspace: ["add_prefix_space", "str_rep"],
};

/** Writes a component by the table of its kind. */
export function writeComponent(
  fields: ComponentFields,
  component: { readonly type: string },
): Record<string, unknown> {
  const table = fields[component.type];
  if (table === undefined) {
    throw new HeddleError(
      "unsupported",
      `toTokenizerJson: tokenizer.json has no component for this one; got type ${JSON.stringify(component.type)}. Keep the original model file.`,
      { type: component.type },
    );
  }
  const values = component as unknown as Readonly<Record<string, unknown>>;
  const json: Record<string, unknown> = { type: component.type };
  for (const [name, field] of Object.entries(table)) json[toSnakeCase(name)] = field.write(values[name]);
  return json;
}

function toSnakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
