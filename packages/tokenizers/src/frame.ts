import { joinValues } from "./join-values.js";

/** Ids that are put around a text. */
export interface Frame {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

export const NO_FRAME: Frame = { before: [], after: [] };

/** Puts a frame around ids. */
export function framed(ids: Int32Array, { before, after }: Frame): Int32Array {
  return joinValues([before, ids, after]);
}
