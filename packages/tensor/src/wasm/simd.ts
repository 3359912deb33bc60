import {
  type F32,
  type F64,
  type I32,
  type I64,
  instruction,
  liftF32,
  liftF64,
  liftI32,
  liftI64,
  memoryImmediates,
  table,
  unsignedLeb,
  type Value,
  type ValueType,
} from "./value.js";

/** A vector operand: a value, or a number repeated in every lane. */
export type V128 = Value<"v128"> | number;

function simd<T extends ValueType>(
  type: T,
  opcode: number,
  operands: readonly Value[],
  immediates: readonly number[] = [],
) {
  return instruction(type, [0xfd, ...unsignedLeb(opcode), ...immediates], operands);
}

/** The constant whose 16 bytes are those of the array. A function builds each of its constants once, at its start. */
function constant(lanes: ArrayBufferView): Value<"v128"> {
  const bytes = [...new Uint8Array(lanes.buffer, lanes.byteOffset, 16)];
  return { type: "v128", emit: (code) => code.vector(bytes) };
}

type Lift = (operand: V128) => Value<"v128">;

/** How a plain number becomes a vector, per kind of lane. */
function lifting(splat: (value: number) => ArrayBufferView): Lift {
  return (operand) => (typeof operand === "number" ? constant(splat(operand)) : operand);
}

const liftI8 = lifting((value) => new Int8Array(16).fill(value));
const liftI16 = lifting((value) => new Int16Array(8).fill(value));
const liftI32x4 = lifting((value) => new Int32Array(4).fill(value));
const liftI64x2 = lifting((value) => new BigInt64Array(2).fill(BigInt(value)));
const liftF32x4 = lifting((value) => new Float32Array(4).fill(value));
const liftF64x2 = lifting((value) => new Float64Array(2).fill(value));

const unary = (lift: Lift) => (opcode: number) => (a: V128) => simd("v128", opcode, [lift(a)]);
const binary = (lift: Lift) => (opcode: number) => (a: V128, b: V128) =>
  simd("v128", opcode, [lift(a), lift(b)]);
const ternary = (lift: Lift) => (opcode: number) => (a: V128, b: V128, c: V128) =>
  simd("v128", opcode, [lift(a), lift(b), lift(c)]);
const shift = (lift: Lift) => (opcode: number) => (a: V128, bits: I32) =>
  simd("v128", opcode, [lift(a), liftI32(bits)]);
const test = (lift: Lift) => (opcode: number) => (a: V128) => simd("i32", opcode, [lift(a)]);

function load(opcode: number, alignment: number) {
  return (address: I32, byteOffset = 0) =>
    simd("v128", opcode, [liftI32(address)], memoryImmediates(alignment, byteOffset));
}

function loadLane(opcode: number, alignment: number) {
  return (address: I32, vector: V128, lane: number, byteOffset = 0) =>
    simd(
      "v128",
      opcode,
      [liftI32(address), liftI32x4(vector)],
      [...memoryImmediates(alignment, byteOffset), lane],
    );
}

function extract<T extends ValueType>(type: T, opcode: number) {
  return (a: Value<"v128">, lane: number) => simd(type, opcode, [a], [lane]);
}

/** Loads, bits, and whatever does not care for lanes. Plain numbers repeat as 32-bit integers. */
export const v128 = {
  const: constant,
  load: load(0, 4),
  load8x8S: load(1, 3),
  load8x8U: load(2, 3),
  load16x4S: load(3, 3),
  load16x4U: load(4, 3),
  load32x2S: load(5, 3),
  load32x2U: load(6, 3),
  load8Splat: load(7, 0),
  load16Splat: load(8, 1),
  load32Splat: load(9, 2),
  load64Splat: load(10, 3),
  load32Zero: load(92, 2),
  load64Zero: load(93, 3),
  load8Lane: loadLane(84, 0),
  load16Lane: loadLane(85, 1),
  load32Lane: loadLane(86, 2),
  load64Lane: loadLane(87, 3),
  not: unary(liftI32x4)(77),
  ...table({ and: 78, andnot: 79, or: 80, xor: 81 }, binary(liftI32x4)),
  /** Bits of `a` where `mask` is 1, of `b` where it is 0. */
  bitselect: (a: V128, b: V128, mask: V128) =>
    simd("v128", 82, [liftI32x4(a), liftI32x4(b), liftI32x4(mask)]),
  anyTrue: test(liftI32x4)(83),
};

export const i8x16 = {
  splat: (a: I32) => simd("v128", 15, [liftI32(a)]),
  /** Picks 16 bytes out of the 32 of `a` then `b`. */
  shuffle: (a: V128, b: V128, lanes: readonly number[]) => simd("v128", 13, [liftI8(a), liftI8(b)], lanes),
  swizzle: binary(liftI8)(14),
  relaxedSwizzle: binary(liftI8)(0x100),
  extractS: extract("i32", 21),
  extractU: extract("i32", 22),
  replace: (a: V128, lane: number, b: I32) => simd("v128", 23, [liftI8(a), liftI32(b)], [lane]),
  ...table(
    {
      eq: 35,
      ne: 36,
      ltS: 37,
      ltU: 38,
      gtS: 39,
      gtU: 40,
      leS: 41,
      leU: 42,
      geS: 43,
      geU: 44,
      add: 110,
      addSatS: 111,
      addSatU: 112,
      sub: 113,
      subSatS: 114,
      subSatU: 115,
      minS: 118,
      minU: 119,
      maxS: 120,
      maxU: 121,
      avgrU: 123,
      narrowI16x8S: 101,
      narrowI16x8U: 102,
    },
    binary(liftI8),
  ),
  ...table({ abs: 96, neg: 97, popcnt: 98 }, unary(liftI8)),
  ...table({ shl: 107, shrS: 108, shrU: 109 }, shift(liftI8)),
  ...table({ allTrue: 99, bitmask: 100 }, test(liftI8)),
  relaxedLaneselect: ternary(liftI8)(0x109),
};

export const i16x8 = {
  splat: (a: I32) => simd("v128", 16, [liftI32(a)]),
  extractS: extract("i32", 24),
  extractU: extract("i32", 25),
  replace: (a: V128, lane: number, b: I32) => simd("v128", 26, [liftI16(a), liftI32(b)], [lane]),
  ...table(
    {
      eq: 45,
      ne: 46,
      ltS: 47,
      ltU: 48,
      gtS: 49,
      gtU: 50,
      leS: 51,
      leU: 52,
      geS: 53,
      geU: 54,
      add: 142,
      addSatS: 143,
      addSatU: 144,
      sub: 145,
      subSatS: 146,
      subSatU: 147,
      mul: 149,
      q15mulrSatS: 130,
      minS: 150,
      minU: 151,
      maxS: 152,
      maxU: 153,
      avgrU: 155,
      narrowI32x4S: 133,
      narrowI32x4U: 134,
      extmulLowI8x16S: 156,
      extmulHighI8x16S: 157,
      extmulLowI8x16U: 158,
      extmulHighI8x16U: 159,
      /** Needs relaxed SIMD: pairs of (8-bit signed) x (7-bit unsigned), summed. */
      relaxedDotI8x16I7x16S: 0x112,
    },
    binary(liftI16),
  ),
  ...table(
    {
      abs: 128,
      neg: 129,
      extendLowI8x16S: 135,
      extendHighI8x16S: 136,
      extendLowI8x16U: 137,
      extendHighI8x16U: 138,
      extaddPairwiseI8x16S: 124,
      extaddPairwiseI8x16U: 125,
    },
    unary(liftI16),
  ),
  ...table({ shl: 139, shrS: 140, shrU: 141 }, shift(liftI16)),
  ...table({ allTrue: 131, bitmask: 132 }, test(liftI16)),
};

export const i32x4 = {
  splat: (a: I32) => simd("v128", 17, [liftI32(a)]),
  /** Picks 4 lanes out of the 8 of `a` then `b`. */
  shuffle: (a: V128, b: V128, lanes: readonly number[]) =>
    i8x16.shuffle(
      a,
      b,
      lanes.flatMap((lane) => [4 * lane, 4 * lane + 1, 4 * lane + 2, 4 * lane + 3]),
    ),
  extract: extract("i32", 27),
  replace: (a: V128, lane: number, b: I32) => simd("v128", 28, [liftI32x4(a), liftI32(b)], [lane]),
  ...table(
    {
      eq: 55,
      ne: 56,
      ltS: 57,
      ltU: 58,
      gtS: 59,
      gtU: 60,
      leS: 61,
      leU: 62,
      geS: 63,
      geU: 64,
      add: 174,
      sub: 177,
      mul: 181,
      minS: 182,
      minU: 183,
      maxS: 184,
      maxU: 185,
      dotI16x8S: 186,
      extmulLowI16x8S: 188,
      extmulHighI16x8S: 189,
      extmulLowI16x8U: 190,
      extmulHighI16x8U: 191,
    },
    binary(liftI32x4),
  ),
  ...table(
    {
      abs: 160,
      neg: 161,
      extendLowI16x8S: 167,
      extendHighI16x8S: 168,
      extendLowI16x8U: 169,
      extendHighI16x8U: 170,
      extaddPairwiseI16x8S: 126,
      extaddPairwiseI16x8U: 127,
    },
    unary(liftI32x4),
  ),
  ...table({ shl: 171, shrS: 172, shrU: 173 }, shift(liftI32x4)),
  ...table({ allTrue: 163, bitmask: 164 }, test(liftI32x4)),
  truncSatF32x4S: unary(liftF32x4)(248),
  truncSatF32x4U: unary(liftF32x4)(249),
  truncSatF64x2SZero: unary(liftF64x2)(252),
  truncSatF64x2UZero: unary(liftF64x2)(253),
  relaxedTruncF32x4S: unary(liftF32x4)(0x101),
  relaxedLaneselect: ternary(liftI32x4)(0x10b),
  /** Needs relaxed SIMD: quads of (8-bit signed) x (7-bit unsigned), summed and added to `c`. */
  relaxedDotI8x16I7x16AddS: ternary(liftI32x4)(0x113),
};

export const i64x2 = {
  splat: (a: I64) => simd("v128", 18, [liftI64(a)]),
  /** Picks 2 lanes out of the 4 of `a` then `b`. */
  shuffle: (a: V128, b: V128, lanes: readonly number[]) =>
    i32x4.shuffle(
      a,
      b,
      lanes.flatMap((lane) => [2 * lane, 2 * lane + 1]),
    ),
  extract: extract("i64", 29),
  ...table(
    {
      add: 206,
      sub: 209,
      mul: 213,
      eq: 214,
      ne: 215,
      ltS: 216,
      gtS: 217,
      leS: 218,
      geS: 219,
      extmulLowI32x4S: 220,
      extmulHighI32x4S: 221,
      extmulLowI32x4U: 222,
      extmulHighI32x4U: 223,
    },
    binary(liftI64x2),
  ),
  ...table(
    { extendLowI32x4S: 199, extendHighI32x4S: 200, extendLowI32x4U: 201, extendHighI32x4U: 202 },
    unary(liftI64x2),
  ),
  ...table({ shl: 203, shrS: 204, shrU: 205 }, shift(liftI64x2)),
};

/** `min`/`max` give NaN if either lane is NaN; `pmin(a, b) = b < a ? b : a`, `pmax(a, b) = a < b ? b : a`. */
export const f32x4 = {
  splat: (a: F32) => (typeof a === "number" ? liftF32x4(a) : simd("v128", 19, [liftF32(a)])),
  extract: extract("f32", 31),
  replace: (a: V128, lane: number, b: F32) => simd("v128", 32, [liftF32x4(a), liftF32(b)], [lane]),
  ...table(
    {
      add: 228,
      sub: 229,
      mul: 230,
      div: 231,
      min: 232,
      max: 233,
      pmin: 234,
      pmax: 235,
      eq: 65,
      ne: 66,
      lt: 67,
      gt: 68,
      le: 69,
      ge: 70,
      relaxedMin: 0x10d,
      relaxedMax: 0x10e,
    },
    binary(liftF32x4),
  ),
  ...table(
    { abs: 224, neg: 225, sqrt: 227, ceil: 103, floor: 104, trunc: 105, nearest: 106 },
    unary(liftF32x4),
  ),
  convertI32x4S: unary(liftI32x4)(250),
  convertI32x4U: unary(liftI32x4)(251),
  demoteF64x2Zero: unary(liftF64x2)(94),
  /** `a * b + c` and `c - a * b`, rounded once or twice as the machine likes. Need relaxed SIMD. */
  ...table({ relaxedMadd: 0x105, relaxedNmadd: 0x106 }, ternary(liftF32x4)),
};

export const f64x2 = {
  splat: (a: F64) => (typeof a === "number" ? liftF64x2(a) : simd("v128", 20, [liftF64(a)])),
  extract: extract("f64", 33),
  ...table(
    {
      add: 240,
      sub: 241,
      mul: 242,
      div: 243,
      min: 244,
      max: 245,
      eq: 71,
      ne: 72,
      lt: 73,
      gt: 74,
      le: 75,
      ge: 76,
    },
    binary(liftF64x2),
  ),
  ...table(
    { abs: 236, neg: 237, sqrt: 239, ceil: 116, floor: 117, trunc: 122, nearest: 148 },
    unary(liftF64x2),
  ),
  promoteLowF32x4: unary(liftF32x4)(95),
  convertLowI32x4S: unary(liftI32x4)(254),
  convertLowI32x4U: unary(liftI32x4)(255),
  ...table({ relaxedMadd: 0x107, relaxedNmadd: 0x108 }, ternary(liftF64x2)),
};
