import { platformBuffer } from "./platform-buffer.js";

/** Shorter arrays are quicker cleared than asked for. */
const MIN_LENGTH = 4096;

/** Returns an array whose values are not set yet, where the platform has memory that nobody cleared: set all before others see it. */
export function uncleared(length: number): Int32Array<ArrayBuffer> {
  if (length < MIN_LENGTH || !platformBuffer) return new Int32Array(length);
  return new Int32Array(platformBuffer.allocUnsafeSlow(4 * length).buffer);
}
