/** What went wrong, as a closed union: callers switch on it, messages are for people. */
export type HeddleErrorCode =
  | "shape"
  | "dtype"
  | "config"
  | "unsupported"
  | "capacity"
  | "format"
  | "disposed"
  | "device";

const brand = Symbol.for("heddle.error");

/**
 * The one error type for mistakes that a caller can mend.
 *
 * The message reads `<function>: <rule>; got <name value, ...>. <Cure.>`; `details` holds the same values as data.
 * This package depends on nothing, so it defines the class itself; `HeddleError.is` knows every copy by its brand.
 */
export class HeddleError extends Error {
  override readonly name = "HeddleError";
  readonly code: HeddleErrorCode;
  readonly details: Readonly<Record<string, unknown>>;
  readonly [brand] = true;

  constructor(
    code: HeddleErrorCode,
    message: string,
    details: Readonly<Record<string, unknown>> = {},
    cause?: unknown,
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.details = details;
  }

  /** Tells whether a value is a HeddleError, also one thrown by another copy of the class. */
  static is(value: unknown): value is HeddleError {
    return value instanceof Error && brand in value;
  }
}
