import { i32 } from "./scalar.js";
import {
  Code,
  type I32,
  instruction,
  type Local,
  liftF32,
  liftF64,
  liftI32,
  liftI64,
  memoryImmediates,
  typeCode,
  unsignedLeb,
  type Value,
  type ValueType,
} from "./value.js";

/** Where a branch may go: out of a block, or back to the start of a loop. */
export interface Label {
  readonly depth: number;
}

/** What a store writes: the type of its value and, for narrow stores, the low bits of an i32. */
const stores = {
  i8: { opcode: [0x3a], alignment: 0 },
  i16: { opcode: [0x3b], alignment: 1 },
  i32: { opcode: [0x36], alignment: 2 },
  i64: { opcode: [0x37], alignment: 3 },
  f32: { opcode: [0x38], alignment: 2 },
  f64: { opcode: [0x39], alignment: 3 },
  v128: { opcode: [0xfd, 11], alignment: 4 },
} as const;

export type StoreKind = keyof typeof stores;
type Stored<K extends StoreKind> = K extends "i8" | "i16" | "i32" ? "i32" : Exclude<K, "i8" | "i16">;
/** A value of the type, or a plain number where the type has constants. */
type Settable<T extends ValueType> =
  | Value<T>
  | (T extends "v128" ? never : T extends "i64" ? bigint : number);

const laneStores = { 8: 88, 16: 89, 32: 90, 64: 91 } as const;

/**
 * Writes one WebAssembly function, statement by statement.
 *
 * Values are trees built by the namespaces `i32`, `f32x4`, ...; statements (`set`, `store`, `if`, ...) are methods here and
 * append code in the order in which they are called. Parameters come before other locals.
 */
export class FunctionBuilder {
  readonly #constants = new Map<string, { readonly index: number; readonly bytes: readonly number[] }>();
  readonly #code = new Code((bytes) => this.#nameConstant(bytes));
  readonly #params: ValueType[] = [];
  readonly #locals: ValueType[] = [];
  /** Vectors named by `let` in the innermost counting loop so far. */
  readonly #roundVectors: number[] = [];
  #depth = 0;

  /** Declares the next parameter of `run`. */
  param<T extends ValueType>(type: T): Local<T> {
    if (this.#locals.length > 0) throw new Error("Heddle bug: parameters must be declared before locals.");
    this.#params.push(type);
    return local(type, this.#params.length - 1);
  }

  /** Declares a variable. It is 0 at entry only: give it a value before a loop reads it. */
  local<T extends ValueType>(type: T): Local<T> {
    this.#locals.push(type);
    return local(type, this.#params.length + this.#locals.length - 1);
  }

  /** Computes the value here, once, and names it. Inside the body of a counting loop the name holds for that round only. */
  let<T extends ValueType>(value: Value<T>): Local<T> {
    const result = this.local(value.type);
    if (value.type === "v128") this.#roundVectors.push(result.index);
    value.emit(this.#code);
    this.#code.byte(0x21).unsigned(result.index);
    return result;
  }

  set<T extends ValueType>(target: Local<T>, value: Settable<T>): void {
    lift(target.type, value).emit(this.#code);
    this.#code.byte(0x21).unsigned(target.index);
  }

  /** `target += step`, for counters and addresses. */
  increase(target: Local<"i32">, step: I32): void {
    this.set(target, i32.add(target, step));
  }

  /** Computes a value for its effect only. */
  drop(value: Value): void {
    value.emit(this.#code);
    this.#code.byte(0x1a);
  }

  /** Writes to memory at `address + byteOffset`. `i8` and `i16` write the low bits of an i32. */
  store<K extends StoreKind>(kind: K, address: I32, value: Settable<Stored<K>>, byteOffset = 0): void {
    const { opcode, alignment } = stores[kind];
    const type: ValueType = kind === "i8" || kind === "i16" ? "i32" : kind;
    liftI32(address).emit(this.#code);
    lift(type, value).emit(this.#code);
    this.#code.bytes(opcode).bytes(memoryImmediates(alignment, byteOffset));
  }

  /** Writes one lane of a vector to `address + byteOffset`; `bits` is the width of the lane. */
  storeLane(
    bits: 8 | 16 | 32 | 64,
    address: I32,
    vector: Value<"v128">,
    { lane, byteOffset = 0 }: { readonly lane: number; readonly byteOffset?: number },
  ): void {
    liftI32(address).emit(this.#code);
    vector.emit(this.#code);
    this.#code.byte(0xfd).bytes(unsignedLeb(laneStores[bits]));
    this.#code.bytes(memoryImmediates(Math.log2(bits / 8), byteOffset)).byte(lane);
  }

  /** Writes a 32-bit word of shared memory with sequentially consistent order. */
  atomicStore(address: I32, value: I32, byteOffset = 0): void {
    liftI32(address).emit(this.#code);
    liftI32(value).emit(this.#code);
    this.#code.bytes([0xfe, 0x17]).bytes(memoryImmediates(2, byteOffset));
  }

  fence(): void {
    this.#code.bytes([0xfe, 0x03, 0x00]);
  }

  /** Copies bytes; the ranges may overlap. */
  copyMemory(target: I32, source: I32, byteLength: I32): void {
    for (const operand of [target, source, byteLength]) liftI32(operand).emit(this.#code);
    this.#code.bytes([0xfc, 10, 0, 0]);
  }

  fillMemory(target: I32, byte: I32, byteLength: I32): void {
    for (const operand of [target, byte, byteLength]) liftI32(operand).emit(this.#code);
    this.#code.bytes([0xfc, 11, 0]);
  }

  if(condition: I32, whenTrue: () => void, whenFalse?: () => void): void {
    liftI32(condition).emit(this.#code);
    this.#code.bytes([0x04, 0x40]);
    this.#depth++;
    whenTrue();
    if (whenFalse) {
      this.#code.byte(0x05);
      whenFalse();
    }
    this.#end();
  }

  /** A block that `branch(label)` leaves. */
  block(body: (label: Label) => void): void {
    this.#enter(0x02, body);
  }

  /** A block that `branch(label)` starts again; without a branch it ends. */
  loop(body: (label: Label) => void): void {
    this.#enter(0x03, body);
  }

  branch(label: Label): void {
    this.#code.byte(0x0c).unsigned(this.#depth - label.depth);
  }

  branchIf(label: Label, condition: I32): void {
    liftI32(condition).emit(this.#code);
    this.#code.byte(0x0d).unsigned(this.#depth - label.depth);
  }

  return(): void {
    this.#code.byte(0x0f);
  }

  /** Runs the body while the condition holds, tested before each round. */
  while(condition: Value<"i32">, body: () => void): void {
    this.if(condition, () =>
      this.loop((again) => {
        this.#eachRound(body);
        this.branchIf(again, condition);
      }),
    );
  }

  /**
   * Forgets the vectors that a round has named. A local set in a loop is a value that the next round might read; V8 does not
   * join vector operations into 256-bit ones whose results are alive so long.
   */
  #eachRound(body: () => void): void {
    const outerVectors = this.#roundVectors.splice(0);
    body();
    const zero = this.#roundVectors.length > 0 ? this.#nameConstant(new Array<number>(16).fill(0)) : 0;
    for (const index of this.#roundVectors) {
      this.#code.byte(0x20).unsigned(zero).byte(0x21).unsigned(index);
    }
    this.#roundVectors.splice(0, Number.POSITIVE_INFINITY, ...outerVectors);
  }

  /** Counts an existing variable up: `for (; i < limit; i += step)`. It ends at the first value >= limit (signed). */
  advance(counter: Local<"i32">, limit: I32, step: I32, body: () => void): void {
    this.while(i32.ltS(counter, limit), () => {
      body();
      this.increase(counter, step);
    });
  }

  /** `for (let i = from; i < to; i += step)`, signed. `from` and `to` may be any value; `to` is read every round. */
  for(from: I32, to: I32, step: I32, body: (i: Local<"i32">) => void): void {
    const i = this.let(liftI32(from));
    this.advance(i, to, step, () => body(i));
  }

  /** The module: imports `env.memory`, exports the function as `run`, and as `runFrom` where it does units. */
  finish(sharedMemory: boolean): Uint8Array<ArrayBuffer> {
    return encodeModule(this.#params, this.#body(), sharedMemory);
  }

  #enter(opcode: number, body: (label: Label) => void): void {
    this.#code.bytes([opcode, 0x40]);
    this.#depth++;
    body({ depth: this.#depth });
    this.#end();
  }

  #end(): void {
    this.#depth--;
    this.#code.byte(0x0b);
  }

  /** The local that holds a vector constant from the function's start on. */
  #nameConstant(bytes: readonly number[]): number {
    const key = bytes.join();
    const known = this.#constants.get(key);
    if (known) return known.index;
    const { index } = this.local("v128");
    this.#constants.set(key, { index, bytes });
    return index;
  }

  #body(): Uint8Array {
    const body = new Code();
    const runs = runLengths(this.#locals);
    body.unsigned(runs.length);
    for (const { type, count } of runs) body.unsigned(count).byte(typeCode(type));
    for (const { index, bytes } of this.#constants.values()) body.vector(bytes).byte(0x21).unsigned(index);
    return body.bytes(this.#code.finish()).byte(0x0b).finish();
  }
}

/**
 * Builds the module of a kernel: one function `run` over an imported memory. If its last two parameters are i32 (the units that it
 * does), there is also `runFrom(address, begin, end)`, which takes the parameters before them from memory, four bytes each.
 *
 * `sharedMemory` must equal that of the memory it will be given.
 */
export function assemble(
  options: { readonly sharedMemory: boolean },
  build: (f: FunctionBuilder) => void,
): Uint8Array<ArrayBuffer> {
  const builder = new FunctionBuilder();
  build(builder);
  return builder.finish(options.sharedMemory);
}

function local<T extends ValueType>(type: T, index: number): Local<T> {
  return { ...instruction(type, [0x20, ...unsignedLeb(index)], []), index };
}

function lift(type: ValueType, value: Value | number | bigint): Value {
  if (typeof value === "bigint") return liftI64(value);
  if (typeof value !== "number") return value;
  if (type === "f32") return liftF32(value);
  return type === "f64" ? liftF64(value) : liftI32(value);
}

function runLengths(types: readonly ValueType[]): { type: ValueType; count: number }[] {
  const runs: { type: ValueType; count: number }[] = [];
  for (const type of types) {
    const last = runs.at(-1);
    if (last?.type === type) last.count++;
    else runs.push({ type, count: 1 });
  }
  return runs;
}

const maxPages = 65536;

function encodeModule(
  params: readonly ValueType[],
  body: Uint8Array,
  sharedMemory: boolean,
): Uint8Array<ArrayBuffer> {
  const section = (id: number, fill: (content: Code) => void) => {
    const content = new Code();
    fill(content);
    module.byte(id).sized(content.finish());
  };
  const module = new Code().bytes([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]);
  const signatures = [params, ...(takesUnits(params) ? [["i32", "i32", "i32"] as const] : [])];
  section(1, (types) => {
    types.unsigned(signatures.length);
    for (const each of signatures) types.byte(0x60).sized(Uint8Array.from(each, typeCode)).byte(0);
  });
  section(2, (imports) => {
    imports.byte(1).name("env").name("memory").byte(0x02);
    if (sharedMemory) imports.bytes([0x03, 0]).unsigned(maxPages);
    else imports.bytes([0x00, 0]);
  });
  section(3, (functions) => functions.bytes([signatures.length, ...signatures.keys()]));
  section(7, (exports) => {
    exports.unsigned(signatures.length).name("run").bytes([0x00, 0]);
    if (signatures.length > 1) exports.name("runFrom").bytes([0x00, 1]);
  });
  section(10, (codes) => {
    codes.unsigned(signatures.length).sized(body);
    if (signatures.length > 1) codes.sized(runFromBody(params));
  });
  return module.finish();
}

/** Whether all parameters are words and the last two whole numbers. */
function takesUnits(params: readonly ValueType[]): boolean {
  const [begin, end] = params.slice(-2);
  return begin === "i32" && end === "i32" && params.every((type) => type === "i32" || type === "f32");
}

/** Loads all parameters but the last two from the first one's address on, hands its other two on, and calls `run`. */
function runFromBody(params: readonly ValueType[]): Uint8Array {
  const code = new Code().unsigned(0);
  for (const [i, type] of params.slice(0, -2).entries()) {
    code.bytes([0x20, 0, type === "f32" ? 0x2a : 0x28, ...memoryImmediates(2, 4 * i)]);
  }
  return code.bytes([0x20, 1, 0x20, 2, 0x10, 0, 0x0b]).finish();
}
