import type { Padding } from "../padding.js";
import type { Truncation } from "../truncation.js";
import { badField, refuseUnknownFields, requireObject } from "./component-fields.js";

type Json = Readonly<Record<string, unknown>>;

const STRATEGIES = {
  LongestFirst: "longestFirst",
  OnlyFirst: "onlyFirst",
  OnlySecond: "onlySecond",
} as const;
const DIRECTIONS = { Left: "left", Right: "right" } as const;

/** Reads the `truncation` of tokenizer.json. */
export function readTruncation(json: unknown): Truncation | null {
  if (json === null || json === undefined) return null;
  const object = requireObject(json, "truncation");
  refuseUnknownFields(object, "truncation", ["max_length", "stride", "strategy", "direction"]);
  return {
    maxLength: countField(object, "truncation", "max_length"),
    stride: object.stride === undefined ? 0 : countField(object, "truncation", "stride"),
    strategy: named(STRATEGIES, object.strategy ?? "LongestFirst", "truncation.strategy"),
    direction: named(DIRECTIONS, object.direction ?? "Right", "truncation.direction"),
  };
}

/** Writes the `truncation` of tokenizer.json. */
export function writeTruncation(truncation: Truncation | undefined): Json | null {
  if (truncation === undefined) return null;
  const { maxLength, stride = 0, strategy = "longestFirst", direction = "right" } = truncation;
  return {
    direction: nameOf(DIRECTIONS, direction),
    max_length: maxLength,
    strategy: nameOf(STRATEGIES, strategy),
    stride,
  };
}

/** The `padding` of tokenizer.json; the token's text is kept so that it can be written again. */
export interface FilePadding extends Padding {
  readonly padToken: string;
}

/** Reads the `padding` of tokenizer.json. */
export function readPadding(json: unknown): FilePadding | null {
  if (json === null || json === undefined) return null;
  const object = requireObject(json, "padding");
  refuseUnknownFields(object, "padding", PADDING_FIELDS);
  const { strategy, pad_token: padToken } = object;
  const fixed = strategy === "BatchLongest" ? null : readFixedLength(strategy);
  if (typeof padToken !== "string") throw badField("padding.pad_token", "a string", padToken);
  const multiple = object.pad_to_multiple_of;
  return {
    length: fixed,
    multipleOf:
      multiple === null || multiple === undefined
        ? null
        : countField(object, "padding", "pad_to_multiple_of"),
    direction: named(DIRECTIONS, object.direction, "padding.direction"),
    padId: countField(object, "padding", "pad_id"),
    padTypeId: countField(object, "padding", "pad_type_id"),
    padToken,
  };
}

const PADDING_FIELDS = [
  "strategy",
  "direction",
  "pad_to_multiple_of",
  "pad_id",
  "pad_type_id",
  "pad_token",
] as const;

function readFixedLength(strategy: unknown): number {
  const object = requireObject(strategy, "padding.strategy");
  refuseUnknownFields(object, "padding.strategy", ["Fixed"]);
  return countField(object, "padding.strategy", "Fixed");
}

/** Writes the `padding` of tokenizer.json. */
export function writePadding(padding: Padding | undefined, nameOfId: (id: number) => string): Json | null {
  if (padding === undefined) return null;
  const { length = null, multipleOf = null, direction = "right", padId = 0, padTypeId = 0 } = padding;
  return {
    strategy: length === null ? "BatchLongest" : { Fixed: length },
    direction: nameOf(DIRECTIONS, direction),
    pad_to_multiple_of: multipleOf,
    pad_id: padId,
    pad_type_id: padTypeId,
    pad_token: "padToken" in padding ? padding.padToken : nameOfId(padId),
  };
}

function countField(object: Json, path: string, key: string): number {
  const value = object[key];
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0) {
    throw badField(`${path}.${key}`, "a whole number of at least 0", value);
  }
  return value;
}

function named<Name extends string>(
  table: Readonly<Record<string, Name>>,
  value: unknown,
  path: string,
): Name {
  const name = typeof value === "string" && Object.hasOwn(table, value) ? table[value] : undefined;
  if (name === undefined) throw badField(path, `one of ${Object.keys(table).join(", ")}`, value);
  return name;
}

function nameOf<Name extends string>(table: Readonly<Record<string, Name>>, value: Name): string {
  return Object.entries(table).find(([, name]) => name === value)?.[0] as string;
}
