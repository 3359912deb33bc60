import { type I32, type I64, instruction, liftI32, liftI64, memoryImmediates, table } from "./value.js";

/**
 * Atomic access to 32-bit words of shared memory. Each is a value with an effect: use `f.let` or `f.drop` to run it.
 * Addresses must be multiples of 4.
 */
export const atomic = {
  load: (address: I32, byteOffset = 0) =>
    instruction("i32", [0xfe, 0x10, ...memoryImmediates(2, byteOffset)], [liftI32(address)]),
  /** Each returns the word's value before the update. */
  ...table(
    { add: 0x1e, sub: 0x25, and: 0x2c, or: 0x33, xor: 0x3a, exchange: 0x41 },
    (opcode) =>
      (address: I32, value: I32, byteOffset = 0) =>
        instruction(
          "i32",
          [0xfe, opcode, ...memoryImmediates(2, byteOffset)],
          [liftI32(address), liftI32(value)],
        ),
  ),
  /** Writes `replacement` if the word equals `expected`; returns the value before. */
  compareExchange: (address: I32, expected: I32, replacement: I32, byteOffset = 0) =>
    instruction(
      "i32",
      [0xfe, 0x48, ...memoryImmediates(2, byteOffset)],
      [liftI32(address), liftI32(expected), liftI32(replacement)],
    ),
  /** Sleeps while the word equals `expected`; 0 woken, 1 not equal, 2 timed out (`timeoutNs` < 0: never). */
  wait: (address: I32, expected: I32, timeoutNs: I64 = -1n) =>
    instruction("i32", [0xfe, 0x01, 2, 0], [liftI32(address), liftI32(expected), liftI64(timeoutNs)]),
  /** Wakes up to `count` sleepers; returns how many. */
  notify: (address: I32, count: I32) =>
    instruction("i32", [0xfe, 0x00, 2, 0], [liftI32(address), liftI32(count)]),
};
