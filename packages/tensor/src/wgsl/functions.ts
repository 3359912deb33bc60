// WGSL functions that kernels may call; `libraryFor` finds those that a text uses.

const functions: Readonly<Record<string, string>> = {
  h_infinity: `var<private> h_infinityBits: u32 = 0x7f800000u;
fn h_infinity() -> f32 { return bitcast<f32>(h_infinityBits); }`,
  h_nan: `var<private> h_nanBits: u32 = 0x7fc00000u;
fn h_nan() -> f32 { return bitcast<f32>(h_nanBits); }`,
  // Compilers may assume that there is no NaN: only its bits tell.
  h_isNan: "fn h_isNan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }",
  h_max: `fn h_max(a: f32, b: f32) -> f32 {
  return select(select(max(a, b), b, h_isNan(b)), a, h_isNan(a));
}`,
  h_min: `fn h_min(a: f32, b: f32) -> f32 {
  return select(select(min(a, b), b, h_isNan(b)), a, h_isNan(a));
}`,
  h_tanh: `fn h_tanh(x: f32) -> f32 {
  let m = abs(x);
  let s = x * x;
  let near = (((((-5.70498872745e-3 * s + 2.06390887954e-2) * s - 5.37397155531e-2) * s + 1.33314422036e-1) * s
    - 3.33332819422e-1) * s) * m + m;
  let far = 1.0 - 2.0 / (exp(min(m + m, 20.0)) + 1.0);
  return select(select(far, near, m < 0.625) * select(1.0, -1.0, x < 0.0), x, h_isNan(x));
}`,
  h_sigmoid: `fn h_sigmoid(x: f32) -> f32 {
  return select(1.0 / (1.0 + exp(min(-x, 88.0))), x, h_isNan(x));
}`,
  // N. Juffa's approximation of the error function.
  h_erf: `fn h_erf(x: f32) -> f32 {
  let s = x * x;
  let t = min(abs(x), 4.0);
  let near = (((((-5.96761703e-4 * s + 4.99119423e-3) * s - 2.67681349e-2) * s + 1.12819925e-1) * s - 3.76125336e-1) * s
    + 1.28379166e-1) * t + t;
  let p = (((((-1.7285347e-5 * t + 3.83197126e-4) * t - 3.88396438e-3) * t + 2.42546219e-2) * t - 1.06777877e-1) * t
    - 6.34846687e-1) * t - 1.28717512e-1;
  let far = 1.0 - exp(p * t - t);
  return select(select(far, near, t < 0.921875) * select(1.0, -1.0, x < 0.0), x, h_isNan(x));
}`,
  // Quarter turns in three parts of pi/2 (Cody and Waite 1980), then the polynomials of Cephes. WGSL's own sine may be off
  // by 2^-11.
  h_sine: `fn h_sine(x: f32, turns: i32) -> f32 {
  let n = clamp(round(x * 0.6366197723675814), -1073741824.0, 1073741824.0);
  let r = ((x - n * 1.5703125) - n * 4.837512969970703e-4) - n * 7.54978995489188e-8;
  let s = r * r;
  let odd = ((-1.9515295891e-4 * s + 8.3321608736e-3) * s - 1.6666654611e-1) * s * r + r;
  let even = ((2.443315711809948e-5 * s - 1.388731625493765e-3) * s + 4.166664568298827e-2) * s * s - 0.5 * s + 1.0;
  let quarter = (i32(n) + turns) & 3;
  let value = select(odd, even, (quarter & 1) == 1);
  return select(value, -value, quarter >= 2);
}`,
  h_sin: "fn h_sin(x: f32) -> f32 { return h_sine(x, 0); }",
  h_cos: "fn h_cos(x: f32) -> f32 { return h_sine(x, 1); }",
  h_pow: `fn h_pow(x: f32, y: f32) -> f32 {
  if (y == 0.0 || x == 1.0) { return 1.0; }
  if (h_isNan(x) || h_isNan(y)) { return h_nan(); }
  let whole = floor(y) == y;
  let odd = whole && abs(y) < 16777216.0 && (i32(y) & 1) == 1;
  if (x == 0.0) { return select(0.0, h_infinity(), y < 0.0); }
  if (x < 0.0 && !whole) { return h_nan(); }
  if (y == 2.0) { return x * x; }
  let size = exp2(y * log2(abs(x)));
  return select(size, -size, x < 0.0 && odd);
}`,
  h_sign: "fn h_sign(x: f32) -> f32 { return select(sign(x), x, h_isNan(x)); }",
  h_powI32: `fn h_powI32(x: i32, y: i32) -> i32 {
  if (y < 0) { return select(select(0, select(-1, 1, (y & 1) == 0), x == -1), 1, x == 1); }
  var result = 1;
  var base = x;
  for (var n = u32(y); n > 0u; n >>= 1u) {
    if ((n & 1u) == 1u) { result *= base; }
    base *= base;
  }
  return result;
}`,
  h_powU32:
    "fn h_powU32(x: u32, y: u32) -> u32 { return bitcast<u32>(h_powI32(bitcast<i32>(x), bitcast<i32>(y))); }",
  h_divI32: "fn h_divI32(a: i32, b: i32) -> i32 { return select(a / select(b, 1, b == 0), 0, b == 0); }",
  h_divU32: "fn h_divU32(a: u32, b: u32) -> u32 { return select(a / select(b, 1u, b == 0u), 0u, b == 0u); }",
  h_toI32: "fn h_toI32(x: f32) -> i32 { return select(i32(x), 0, h_isNan(x)); }",
  h_toU32: `fn h_toU32(x: f32) -> u32 {
  return select(select(u32(x), bitcast<u32>(i32(x)), x < 0.0), 0u, h_isNan(x));
}`,
  h_i8: "fn h_i8(x: i32) -> i32 { return (x << 24u) >> 24u; }",
  h_fromF16: `fn h_fromF16(bits: u32) -> f32 {
  let magnitude = bits & 0x7fffu;
  let sign = (bits & 0x8000u) << 16u;
  if (magnitude >= 0x7c00u) {
    var special = sign | 0x7f800000u | ((magnitude & 0x3ffu) << 13u);
    return bitcast<f32>(special);
  }
  if (magnitude < 0x400u) { return select(1.0, -1.0, sign != 0u) * f32(magnitude) * 5.9604644775390625e-8; }
  return bitcast<f32>(sign | ((magnitude << 13u) + 0x38000000u));
}`,
  h_toF16: `fn h_toF16(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  let sign = (bits >> 16u) & 0x8000u;
  let magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) { return sign | 0x7e00u; }
  if (magnitude >= 0x47800000u) { return sign | 0x7c00u; }
  if (magnitude < 0x38800000u) { return sign | u32(round(abs(x) * 16777216.0)); }
  return sign | ((magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13u) & 1u)) >> 13u);
}`,
  h_fromBf16: "fn h_fromBf16(bits: u32) -> f32 { return bitcast<f32>(bits << 16u); }",
  h_toBf16: `fn h_toBf16(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) { return (bits >> 16u) | 0x40u; }
  return (bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u;
}`,
  h_mulHigh: `fn h_mulHigh(a: u32, b: u32) -> u32 {
  let aLow = a & 0xffffu;
  let aHigh = a >> 16u;
  let bLow = b & 0xffffu;
  let bHigh = b >> 16u;
  let middle = aHigh * bLow + ((aLow * bLow) >> 16u);
  let carry = aLow * bHigh + (middle & 0xffffu);
  return aHigh * bHigh + (middle >> 16u) + (carry >> 16u);
}`,
  // Salmon et al. 2011, section 3.3; its twin is philox.ts.
  h_philox: `fn h_philox(counter: vec4u, seed: vec2u) -> vec4u {
  var c = counter;
  var k = seed;
  for (var round = 0; round < 10; round++) {
    c = vec4u(h_mulHigh(0xcd9e8d57u, c.z) ^ c.y ^ k.x, 0xcd9e8d57u * c.z,
              h_mulHigh(0xd2511f53u, c.x) ^ c.w ^ k.y, 0xd2511f53u * c.x);
    k += vec2u(0x9e3779b9u, 0xbb67ae85u);
  }
  return c;
}`,
};

/** Definitions of the functions `h_...` that a text calls, and of those that they call. */
export function libraryFor(code: string): string {
  const used = new Set<string>();
  const visit = (text: string) => {
    for (const [name] of text.matchAll(/\bh_[a-zA-Z0-9]+(?=\()/g)) {
      const body = functions[name];
      if (body === undefined || used.has(name)) continue;
      visit(body.replace(`fn ${name}(`, ""));
      used.add(name);
    }
  };
  visit(code);
  return [...used].map((name) => functions[name]).join("\n");
}

/** What converts half floats in hardware, in place of functions that do with whole numbers: for adapters with half floats. */
const hardwareHalves: Readonly<Record<string, string>> = {
  h_fromF16: "fn h_fromF16(bits: u32) -> f32 { return unpack2x16float(bits).x; }",
  h_toF16: "fn h_toF16(x: f32) -> u32 { return pack2x16float(vec2f(x, 0.0)) & 0xffffu; }",
};

/**
 * The same module with half floats converted by WGSL's own functions, which need not keep subnormal numbers nor infinities; adapters with
 * half-precision arithmetic do, and take one instruction.
 */
export function withHardwareHalves(code: string): string {
  return Object.entries(hardwareHalves).reduce(
    (text, [name, body]) => text.replace(functions[name] ?? "", () => body),
    code,
  );
}
