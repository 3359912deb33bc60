import { HeddleError, philox } from "@heddle/tensor";

/**
 * Makes a rule that sets a random part of the documents aside, the same in every run with this seed.
 *
 * The text itself decides, so copies of a document never stand on both sides.
 * @param options.fraction  expected part that is held out, 0..1
 * @returns true for a text that is held out
 */
export function createHeldOut({
  fraction,
  seed,
}: {
  readonly fraction: number;
  readonly seed: number;
}): (text: string) => boolean {
  if (!(fraction >= 0 && fraction < 1)) {
    const message = `createHeldOut: fraction must be in 0 <= fraction < 1; got ${fraction}. Use about 0.01.`;
    throw new HeddleError("config", message, { fraction });
  }
  return (text) => philox([fnv1a(text), text.length, 0, 0], [seed >>> 0, 0])[0] < fraction * 2 ** 32;
}

/** 32 bits of the UTF-16 units of a text. @see Fowler, Noll and Vo, FNV-1a */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return hash >>> 0;
}
