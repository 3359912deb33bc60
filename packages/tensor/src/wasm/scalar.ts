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
  type Value,
} from "./value.js";

type Address = I32;

const i32Binary = table(
  {
    eq: 0x46,
    ne: 0x47,
    ltS: 0x48,
    ltU: 0x49,
    gtS: 0x4a,
    gtU: 0x4b,
    leS: 0x4c,
    leU: 0x4d,
    geS: 0x4e,
    geU: 0x4f,
    add: 0x6a,
    sub: 0x6b,
    mul: 0x6c,
    divS: 0x6d,
    divU: 0x6e,
    remS: 0x6f,
    remU: 0x70,
    and: 0x71,
    or: 0x72,
    xor: 0x73,
    shl: 0x74,
    shrS: 0x75,
    shrU: 0x76,
    rotl: 0x77,
    rotr: 0x78,
  },
  (opcode) => (a: I32, b: I32) => instruction("i32", [opcode], [liftI32(a), liftI32(b)]),
);

const i32Unary = table(
  { eqz: 0x45, clz: 0x67, ctz: 0x68, popcnt: 0x69, extend8S: 0xc0, extend16S: 0xc1 },
  (opcode) => (a: I32) => instruction("i32", [opcode], [liftI32(a)]),
);

function load<T extends "i32" | "i64" | "f32" | "f64">(type: T, opcode: number, alignment: number) {
  return (address: Address, byteOffset = 0): Value<T> =>
    instruction(type, [opcode, ...memoryImmediates(alignment, byteOffset)], [liftI32(address)]);
}

/** 32-bit integers; also booleans (0 or 1) and addresses. */
export const i32 = {
  const: (value: number) => liftI32(value),
  ...i32Binary,
  ...i32Unary,
  load: load("i32", 0x28, 2),
  load8S: load("i32", 0x2c, 0),
  load8U: load("i32", 0x2d, 0),
  load16S: load("i32", 0x2e, 1),
  load16U: load("i32", 0x2f, 1),
  wrapI64: (a: I64) => instruction("i32", [0xa7], [liftI64(a)]),
  reinterpretF32: (a: F32) => instruction("i32", [0xbc], [liftF32(a)]),
  truncSatF32S: (a: F32) => instruction("i32", [0xfc, 0], [liftF32(a)]),
  truncSatF32U: (a: F32) => instruction("i32", [0xfc, 1], [liftF32(a)]),
  truncSatF64S: (a: F64) => instruction("i32", [0xfc, 2], [liftF64(a)]),
  truncSatF64U: (a: F64) => instruction("i32", [0xfc, 3], [liftF64(a)]),
};

/** 64-bit integers; constants are written as bigint. */
export const i64 = {
  const: (value: bigint) => liftI64(value),
  ...table(
    {
      add: 0x7c,
      sub: 0x7d,
      mul: 0x7e,
      divS: 0x7f,
      divU: 0x80,
      remS: 0x81,
      remU: 0x82,
      and: 0x83,
      or: 0x84,
      xor: 0x85,
      shl: 0x86,
      shrS: 0x87,
      shrU: 0x88,
      rotl: 0x89,
      rotr: 0x8a,
    },
    (opcode) => (a: I64, b: I64) => instruction("i64", [opcode], [liftI64(a), liftI64(b)]),
  ),
  ...table(
    {
      eq: 0x51,
      ne: 0x52,
      ltS: 0x53,
      ltU: 0x54,
      gtS: 0x55,
      gtU: 0x56,
      leS: 0x57,
      leU: 0x58,
      geS: 0x59,
      geU: 0x5a,
    },
    (opcode) => (a: I64, b: I64) => instruction("i32", [opcode], [liftI64(a), liftI64(b)]),
  ),
  eqz: (a: I64) => instruction("i32", [0x50], [liftI64(a)]),
  load: load("i64", 0x29, 3),
  load32U: load("i64", 0x35, 2),
  extendI32S: (a: I32) => instruction("i64", [0xac], [liftI32(a)]),
  extendI32U: (a: I32) => instruction("i64", [0xad], [liftI32(a)]),
  reinterpretF64: (a: F64) => instruction("i64", [0xbd], [liftF64(a)]),
};

/** Single-precision floats. `min`/`max` give NaN if either side is NaN. */
export const f32 = {
  const: (value: number) => liftF32(value),
  ...table(
    { add: 0x92, sub: 0x93, mul: 0x94, div: 0x95, min: 0x96, max: 0x97, copysign: 0x98 },
    (opcode) => (a: F32, b: F32) => instruction("f32", [opcode], [liftF32(a), liftF32(b)]),
  ),
  ...table(
    { abs: 0x8b, neg: 0x8c, ceil: 0x8d, floor: 0x8e, trunc: 0x8f, nearest: 0x90, sqrt: 0x91 },
    (opcode) => (a: F32) => instruction("f32", [opcode], [liftF32(a)]),
  ),
  ...table(
    { eq: 0x5b, ne: 0x5c, lt: 0x5d, gt: 0x5e, le: 0x5f, ge: 0x60 },
    (opcode) => (a: F32, b: F32) => instruction("i32", [opcode], [liftF32(a), liftF32(b)]),
  ),
  load: load("f32", 0x2a, 2),
  convertI32S: (a: I32) => instruction("f32", [0xb2], [liftI32(a)]),
  convertI32U: (a: I32) => instruction("f32", [0xb3], [liftI32(a)]),
  demoteF64: (a: F64) => instruction("f32", [0xb6], [liftF64(a)]),
  reinterpretI32: (a: I32) => instruction("f32", [0xbe], [liftI32(a)]),
};

/** Double-precision floats. */
export const f64 = {
  const: (value: number) => liftF64(value),
  ...table(
    { add: 0xa0, sub: 0xa1, mul: 0xa2, div: 0xa3, min: 0xa4, max: 0xa5, copysign: 0xa6 },
    (opcode) => (a: F64, b: F64) => instruction("f64", [opcode], [liftF64(a), liftF64(b)]),
  ),
  ...table(
    { abs: 0x99, neg: 0x9a, ceil: 0x9b, floor: 0x9c, trunc: 0x9d, nearest: 0x9e, sqrt: 0x9f },
    (opcode) => (a: F64) => instruction("f64", [opcode], [liftF64(a)]),
  ),
  ...table(
    { eq: 0x61, ne: 0x62, lt: 0x63, gt: 0x64, le: 0x65, ge: 0x66 },
    (opcode) => (a: F64, b: F64) => instruction("i32", [opcode], [liftF64(a), liftF64(b)]),
  ),
  load: load("f64", 0x2b, 3),
  convertI32S: (a: I32) => instruction("f64", [0xb7], [liftI32(a)]),
  convertI32U: (a: I32) => instruction("f64", [0xb8], [liftI32(a)]),
  promoteF32: (a: F32) => instruction("f64", [0xbb], [liftF32(a)]),
  reinterpretI64: (a: I64) => instruction("f64", [0xbf], [liftI64(a)]),
};
