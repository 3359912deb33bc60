/** How the encodings of a batch are brought to one length. */
export interface Padding {
  /** Tokens in all; default the longest of the batch. */
  readonly length?: number | null;
  /** The length is rounded up to a multiple of this. */
  readonly multipleOf?: number | null;
  /** Where padding goes; default "right". */
  readonly direction?: "left" | "right";
  /** Default 0. */
  readonly padId?: number;
  /** Default 0. */
  readonly padTypeId?: number;
}

/** What can be padded: gives one of at least `length` tokens. */
interface Paddable<Padded> {
  readonly length: number;
  padded(length: number, options: Padding): Padded;
}

/** Pads the encodings of a batch; overflow windows are padded too. An encoding that is longer stays as it is. */
export function padEncodings<Padded>(encodings: readonly Paddable<Padded>[], padding: Padding): Padded[] {
  const longest = encodings.reduce((length, encoding) => Math.max(length, encoding.length), 0);
  const wanted = padding.length ?? longest;
  const multiple = padding.multipleOf ?? 1;
  const length = Math.ceil(wanted / multiple) * multiple;
  return encodings.map((encoding) => encoding.padded(length, padding));
}
