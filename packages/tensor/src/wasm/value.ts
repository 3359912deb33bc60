/** The value types of WebAssembly that kernels use. A v128 is typed by the namespace that works on it (`f32x4`, `i8x16`...). */
export type ValueType = "i32" | "i64" | "f32" | "f64" | "v128";

const typeCodes = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b } as const satisfies Record<
  ValueType,
  number
>;

/** Byte by which the binary format names a value type. */
export function typeCode(type: ValueType): number {
  return typeCodes[type];
}

/**
 * A piece of code that leaves one value on the stack: a tree of instructions, not a number.
 *
 * It runs where a statement uses it, each time it is used. `f.let(value)` runs it once, here, and keeps the result.
 */
export interface Value<T extends ValueType = ValueType> {
  readonly type: T;
  emit(code: Code): void;
}

/** A variable of the function being built. Used as a value it reads itself. */
export interface Local<T extends ValueType = ValueType> extends Value<T> {
  readonly index: number;
}

/** An operand: a value, or a plain number that becomes a constant (a splat for lanes). */
export type I32 = Value<"i32"> | number;
export type I64 = Value<"i64"> | bigint;
export type F32 = Value<"f32"> | number;
export type F64 = Value<"f64"> | number;

/** Bytes of code, growing. */
export class Code {
  #bytes = new Uint8Array(256);
  #length = 0;
  readonly #nameConstant: ((bytes: readonly number[]) => number) | undefined;

  /** `nameConstant` gives the local that holds a vector constant; without it constants are written where they are used. */
  constructor(nameConstant?: (bytes: readonly number[]) => number) {
    this.#nameConstant = nameConstant;
  }

  /** A constant vector. Engines build one anew at each use, which costs more than the use: so it is kept in a local. */
  vector(bytes: readonly number[]): this {
    const isCheap = bytes.every((byte) => byte === bytes[0] && (byte === 0 || byte === 255));
    if (isCheap || !this.#nameConstant) return this.bytes([0xfd, 12, ...bytes]);
    return this.byte(0x20).unsigned(this.#nameConstant(bytes));
  }

  byte(value: number): this {
    if (this.#length === this.#bytes.length) {
      const grown = new Uint8Array(this.#length * 2);
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    this.#bytes[this.#length++] = value;
    return this;
  }

  bytes(values: Iterable<number>): this {
    for (const value of values) this.byte(value);
    return this;
  }

  /** Unsigned LEB128. */
  unsigned(value: number): this {
    return this.bytes(unsignedLeb(value));
  }

  /** A length-prefixed vector of bytes. */
  sized(values: Uint8Array): this {
    return this.unsigned(values.length).bytes(values);
  }

  name(text: string): this {
    return this.sized(new TextEncoder().encode(text));
  }

  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length);
  }
}

export function unsignedLeb(value: number): number[] {
  const bytes: number[] = [];
  let rest = value >>> 0;
  while (rest > 0x7f) {
    bytes.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  bytes.push(rest);
  return bytes;
}

function signedLeb(value: bigint): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (;;) {
    const low = Number(rest & 0x7fn);
    rest >>= 7n;
    if ((rest === 0n && (low & 0x40) === 0) || (rest === -1n && (low & 0x40) !== 0)) {
      bytes.push(low);
      return bytes;
    }
    bytes.push(low | 0x80);
  }
}

/** Builds the tree node: operands first, then opcode and immediates. */
export function instruction<T extends ValueType>(
  type: T,
  opcode: readonly number[],
  operands: readonly Value[],
): Value<T> {
  return {
    type,
    emit(code) {
      for (const operand of operands) operand.emit(code);
      code.bytes(opcode);
    },
  };
}

/** Makes one method per entry of an opcode table. */
export function table<Name extends string, Method>(
  opcodes: Readonly<Record<Name, number>>,
  make: (opcode: number) => Method,
): Record<Name, Method> {
  const methods = Object.entries<number>(opcodes).map(([name, opcode]) => [name, make(opcode)]);
  return Object.fromEntries(methods) as Record<Name, Method>;
}

/** Immediates of a memory access: log2 of the alignment hint, then the constant byte offset. */
export function memoryImmediates(alignment: number, byteOffset: number): number[] {
  return [alignment, ...unsignedLeb(byteOffset)];
}

export function liftI32(operand: I32): Value<"i32"> {
  if (typeof operand !== "number") return operand;
  return instruction("i32", [0x41, ...signedLeb(BigInt(operand | 0))], []);
}

export function liftI64(operand: I64): Value<"i64"> {
  if (typeof operand !== "bigint") return operand;
  return instruction("i64", [0x42, ...signedLeb(BigInt.asIntN(64, operand))], []);
}

export function liftF32(operand: F32): Value<"f32"> {
  if (typeof operand !== "number") return operand;
  return instruction("f32", [0x43, ...new Uint8Array(new Float32Array([operand]).buffer)], []);
}

export function liftF64(operand: F64): Value<"f64"> {
  if (typeof operand !== "number") return operand;
  return instruction("f64", [0x44, ...new Uint8Array(new Float64Array([operand]).buffer)], []);
}

/** `condition ? whenTrue : whenFalse`, both evaluated. */
export function select<T extends ValueType>(
  condition: I32,
  whenTrue: Value<T>,
  whenFalse: Value<T>,
): Value<T> {
  return instruction(whenTrue.type, [0x1b], [whenTrue, whenFalse, liftI32(condition)]);
}
