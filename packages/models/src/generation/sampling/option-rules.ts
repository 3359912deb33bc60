import { HeddleError } from "@heddle/tensor";

/** What an option's value must be. */
export interface OptionRule {
  /** Completes "must be". */
  readonly rule: string;
  readonly holds: (x: unknown) => boolean;
}

/** A rule for each option of a function. */
export type OptionRules<Options> = Readonly<Record<keyof Options, OptionRule>>;

export const numeric = (rule: string, holds: (x: number) => boolean): OptionRule => ({
  rule,
  holds: (x) => typeof x === "number" && holds(x),
});

export const whole = numeric("a whole number >= 0", (x) => Number.isSafeInteger(x) && x >= 0);
export const count = numeric("a whole number >= 1", (x) => Number.isSafeInteger(x) && x >= 1);
export const share = numeric("from 0 to 1", (x) => x >= 0 && x <= 1);
export const positiveShare = numeric("above 0 and at most 1", (x) => x > 0 && x <= 1);
export const finite = numeric("a finite number", Number.isFinite);
export const notNegative = numeric("a number >= 0", (x) => x >= 0 && x < Number.POSITIVE_INFINITY);
export const positive = numeric("a number above 0", (x) => x > 0 && x < Number.POSITIVE_INFINITY);

const isId = (x: unknown): boolean => Number.isSafeInteger(x) && Number(x) >= 0;

export const isIds = (x: unknown): boolean => Array.isArray(x) && x.every(isId);

export const listOfIds: OptionRule = { rule: "a list of ids", holds: isIds };

export const boolean: OptionRule = { rule: "true or false", holds: (x) => typeof x === "boolean" };

/** A value with the methods that are named. */
export const having = (rule: string, ...methods: readonly string[]): OptionRule => ({
  rule,
  holds: (x) =>
    typeof x === "object" &&
    x !== null &&
    methods.every((name) => typeof (x as Readonly<Record<string, unknown>>)[name] === "function"),
});

/**
 * Checks the options that a function was given.
 *
 * @param caller  name of the function, for the message
 * @throws HeddleError "config" for values out of range and unknown options
 */
export function checkOptions<Options extends object>(
  caller: string,
  options: Options,
  rules: OptionRules<Required<Options>>,
): void {
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue;
    const range = Object.hasOwn(rules, name) ? rules[name as keyof Options] : undefined;
    if (range === undefined) {
      const known = Object.keys(rules).join(", ");
      const message = `${caller}: options must be among ${known}; got "${name}". Remove or rename it.`;
      throw new HeddleError("config", message, { option: name });
    }
    if (!range.holds(value)) {
      const message = `${caller}: ${name} must be ${range.rule}; got ${shown(value)}. Change or leave it out.`;
      throw new HeddleError("config", message, { option: name, value });
    }
  }
}

function shown(value: unknown): string {
  return Array.isArray(value) ? JSON.stringify(value) : String(value);
}
