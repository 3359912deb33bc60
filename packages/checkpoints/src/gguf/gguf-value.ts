/** Scalar types of metadata. Numbers are the format's own. */
const scalarIds = {
  u8: 0,
  i8: 1,
  u16: 2,
  i16: 3,
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  string: 8,
  u64: 10,
  i64: 11,
  f64: 12,
} as const;

/** Number of the type "array". */
export const arrayId = 9;

export type GgufScalarType = keyof typeof scalarIds;

/** Types whose values are JavaScript numbers. */
export type GgufNumberType = "u8" | "i8" | "u16" | "i16" | "u32" | "i32" | "f32" | "f64";

/** One value of the metadata, with the type that it has in the file. */
export type GgufValue =
  | { readonly type: GgufNumberType; readonly value: number }
  | { readonly type: "u64" | "i64"; readonly value: bigint }
  | { readonly type: "bool"; readonly value: boolean }
  | { readonly type: "string"; readonly value: string }
  | GgufArray;

/** An array of the metadata: all items are of one type, which may be "array" again (then each names its own). */
export type GgufArray =
  | GgufNumbers
  | { readonly type: "array"; readonly itemType: "u64" | "i64"; readonly value: readonly bigint[] }
  | { readonly type: "array"; readonly itemType: "bool"; readonly value: readonly boolean[] }
  | GgufTexts
  | { readonly type: "array"; readonly itemType: "array"; readonly value: readonly GgufArray[] };

/** An array of numbers. */
export interface GgufNumbers {
  readonly type: "array";
  readonly itemType: GgufNumberType;
  readonly value: readonly number[];
  /** The numbers as they were read, without making an array of them. */
  readonly numbers?: ArrayLike<number>;
}

/** An array of strings. */
export interface GgufTexts {
  readonly type: "array";
  readonly itemType: "string";
  readonly value: readonly string[];
  /** One string, without making all of them where they are still bytes. */
  readonly item?: (index: number) => string | undefined;
}

const byId = new Map<number, GgufScalarType | "array">([
  ...Object.entries(scalarIds).map(([type, id]) => [id, type as GgufScalarType] as const),
  [arrayId, "array"],
]);

/** The type that has this number in a file, or undefined. */
export function valueTypeOf(id: number): GgufScalarType | "array" | undefined {
  return byId.get(id);
}

/** Number of a type in a file. */
export function valueTypeId(type: GgufScalarType | "array"): number {
  return type === "array" ? arrayId : scalarIds[type];
}

/** Bytes of a value; of a string or array, the fewest that one can take. */
export function leastBytes(type: GgufScalarType | "array"): number {
  switch (type) {
    case "u8":
    case "i8":
    case "bool":
      return 1;
    case "u16":
    case "i16":
      return 2;
    case "u32":
    case "i32":
    case "f32":
      return 4;
    case "u64":
    case "i64":
    case "f64":
    case "string":
      return 8;
    case "array":
      return 12;
    default:
      return type satisfies never;
  }
}

/** Arrays in arrays that are read and written at most; real files use one level. */
export const maxArrayDepth = 8;

/** Most bytes of metadata and tensor list: a damaged file must not make us allocate more. */
export const maxGgufHeaderBytes = 2 ** 28;

/** Multiple at which tensors begin, where the metadata do not say otherwise. */
export const defaultAlignment = 32;

/** Field of the metadata with the multiple at which tensors begin. */
export const alignmentField = "general.alignment";

export function isAlignment(value: number): boolean {
  return value >= 1 && value <= 2 ** 30 && Number.isInteger(Math.log2(value));
}

export function alignUp(position: number, alignment: number): number {
  return Math.ceil(position / alignment) * alignment;
}
