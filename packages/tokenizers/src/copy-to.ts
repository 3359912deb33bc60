/** Copies a typed array to the beginning of a larger one and returns this. */
export function copyTo<Values extends Uint8Array | Uint16Array | Int32Array | Float64Array>(
  to: Values,
  from: Values,
): Values {
  to.set(from);
  return to;
}
