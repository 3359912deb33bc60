type Values =
  | Uint8Array<ArrayBuffer>
  | Int32Array<ArrayBuffer>
  | Float32Array<ArrayBuffer>
  | Float64Array<ArrayBuffer>;

/** Copies a typed array to one of twice its length, or of length `least` if that is more. */
export function grown<Kind extends Values>(old: Kind, least = 0): Kind {
  const all = new (old.constructor as new (length: number) => Kind)(Math.max(least, 2 * old.length));
  all.set(old);
  return all;
}
