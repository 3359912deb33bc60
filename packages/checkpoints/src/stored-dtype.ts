import type { DType } from "@heddle/tensor";

/** A dtype as safetensors spells it: bytes of one element, and our dtype that holds the same bits (if any). */
interface StoredDTypeInfo {
  readonly width: number;
  readonly dtype?: DType;
}

/** In the order in which the format's own writer ranks them: files are laid out from the last to the first. */
const table = {
  BOOL: { width: 1, dtype: "bool" },
  U8: { width: 1, dtype: "u8" },
  I8: { width: 1, dtype: "i8" },
  F8_E5M2: { width: 1 },
  F8_E4M3: { width: 1 },
  I16: { width: 2 },
  U16: { width: 2 },
  F16: { width: 2, dtype: "f16" },
  BF16: { width: 2, dtype: "bf16" },
  I32: { width: 4, dtype: "i32" },
  U32: { width: 4, dtype: "u32" },
  F32: { width: 4, dtype: "f32" },
  F64: { width: 8, dtype: "f64" },
  I64: { width: 8 },
  U64: { width: 8 },
} as const satisfies Record<string, StoredDTypeInfo>;

/** Element types of the format. I16, U16 and U64 can be listed but not loaded; the 8-bit floats are widened. */
export type StoredDType = keyof typeof table;

export const storedDTypes = Object.keys(table) as readonly StoredDType[];

const rankOf = new Map(storedDTypes.map((dtype, rank) => [dtype, rank]));
const spelling = new Map<DType, StoredDType>(
  storedDTypes.flatMap((name) => {
    const { dtype }: StoredDTypeInfo = table[name];
    return dtype === undefined ? [] : [[dtype, name] as const];
  }),
);

export function isStoredDType(value: unknown): value is StoredDType {
  return typeof value === "string" && Object.hasOwn(table, value);
}

/** Bytes of one element. */
export function storedWidth(dtype: StoredDType): number {
  return table[dtype].width;
}

/** Our dtype with the same bits, or undefined where there is none. */
export function dtypeOf(stored: StoredDType): DType | undefined {
  const info: StoredDTypeInfo = table[stored];
  return info.dtype;
}

/** How the format spells one of our dtypes. */
export function storedDTypeOf(dtype: DType): StoredDType {
  return spelling.get(dtype) ?? "F32";
}

/** Rank in the file: a greater rank lies earlier, so that wide elements come first and all stay aligned. */
export function layoutRank(dtype: StoredDType): number {
  return rankOf.get(dtype) ?? 0;
}
