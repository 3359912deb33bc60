/** Ids that are put around a text. */
export interface Frame {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

export const NO_FRAME: Frame = { before: [], after: [] };

/** Puts a frame around ids. */
export function framed(ids: Int32Array, { before, after }: Frame): Int32Array {
  const all = new Int32Array(before.length + ids.length + after.length);
  all.set(before);
  all.set(ids, before.length);
  all.set(after, before.length + ids.length);
  return all;
}
