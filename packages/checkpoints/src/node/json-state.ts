import { HeddleError } from "@heddle/tensor";

/** Values that JSON keeps exactly. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** Checks that a value comes back from JSON as it was. @throws HeddleError "config" naming the place that would not */
export function checkJson(value: unknown, path = "state"): asserts value is Json {
  if (value === null || typeof value === "boolean" || typeof value === "string") return;
  // JSON writes NaN and infinities as null, and -0 as 0.
  if (typeof value === "number" && Number.isFinite(value) && !Object.is(value, -0)) return;
  if (Array.isArray(value)) {
    for (const [at, item] of value.entries()) checkJson(item, `${path}[${at}]`);
    return;
  }
  if (typeof value === "object" && Object.getPrototypeOf(value) === Object.prototype) {
    for (const [key, item] of Object.entries(value)) checkJson(item, `${path}.${key}`);
    return;
  }
  const shown =
    typeof value === "object" ? "an object of a class" : Object.is(value, -0) ? "-0" : String(value);
  const message = `saveCheckpoint: state must be plain JSON values; got ${shown} at ${path}. Keep arrays of numbers as tensors in a tree.`;
  throw new HeddleError("config", message, { path });
}
