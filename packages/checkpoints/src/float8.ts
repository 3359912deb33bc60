/** The 8-bit floats of safetensors files. */
export type Float8 = "F8_E4M3" | "F8_E5M2";

interface Float8Format {
  readonly mantissaBits: number;
  readonly bias: number;
  /** The value of a code without its sign, where the format's rule for exponents does not hold. */
  readonly special: (code: number) => number | undefined;
}

const formats: Readonly<Record<Float8, Float8Format>> = {
  // Without infinities: only the largest code is not a number.
  F8_E4M3: { mantissaBits: 3, bias: 7, special: (code) => (code === 0x7f ? Number.NaN : undefined) },
  F8_E5M2: {
    mantissaBits: 2,
    bias: 15,
    special: (code) => (code < 0x7c ? undefined : code === 0x7c ? Number.POSITIVE_INFINITY : Number.NaN),
  },
};

/**
 * The 256 values of a format, by code; f32 and f16 hold all of them exactly, bf16 too.
 *
 * @see Micikevicius et al. 2022 (FP8 Formats for Deep Learning), arXiv:2209.05433; OCP 8-bit Floating Point Specification 1.0
 */
function float8Values(format: Float8): Float32Array {
  const { mantissaBits, bias, special } = formats[format];
  const fractions = 2 ** mantissaBits;
  const sizeOf = (code: number) => {
    const exponent = code >> mantissaBits;
    const fraction = (code % fractions) / fractions;
    if (exponent === 0) return fraction * 2 ** (1 - bias);
    return special(code) ?? (1 + fraction) * 2 ** (exponent - bias);
  };
  return Float32Array.from({ length: 256 }, (_, code) => (code < 128 ? 1 : -1) * sizeOf(code & 127));
}

/** Widens codes. */
export function decodeFloat8(format: Float8, codes: Uint8Array): Float32Array {
  const values = float8Values(format);
  const out = new Float32Array(codes.length);
  for (let i = 0; i < codes.length; i++) out[i] = values[codes[i] ?? 0] ?? 0;
  return out;
}

export function isFloat8(dtype: string): dtype is Float8 {
  return Object.hasOwn(formats, dtype);
}
