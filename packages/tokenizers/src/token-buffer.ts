import { uncleared } from "./uncleared.js";

/** So much room a token, in the mean, is made for tokens that are yet to come... */
const LIKELY_ROOM = 1.04;
/** ...and is left in arrays that are given away, at most. */
const MAX_ROOM = 1.07;

const NONE = new Int32Array(0);

/**
 * A growing list of tokens in typed arrays: id and [start, end) in units of the text that they were found in.
 */
export class TokenBuffer {
  length = 0;
  ids = NONE;
  starts = NONE;
  ends = NONE;
  /** False: tokens are only counted. */
  keepsIds = true;
  /** Text of tokens whose surface is not the vocabulary's, by index: unknown pieces, added tokens with spaces. */
  readonly surfaces = new Map<number, string>();

  /**
   * Room for so many tokens at most is made before the first and stays for the next text: pages that no token reaches
   * cost nothing, but long texts with ranges get arrays of their own.
   */
  readonly firstRoom: number;

  /** @param keepsRanges  false: tokens have no ranges here, whose memory would cost more than they do */
  constructor(readonly keepsRanges = true) {
    this.firstRoom = 1 << (keepsRanges ? 17 : 20);
  }

  push(id: number, start: number, end: number): void {
    const at = this.length;
    this.length = at + 1;
    if (!this.keepsIds) return;
    if (at === this.ids.length) this.reserve(64);
    this.ids[at] = id;
    if (!this.keepsRanges) return;
    this.starts[at] = start;
    this.ends[at] = end;
  }

  /** Appends a token whose text differs from the vocabulary's entry. */
  pushSurface(id: number, range: readonly [number, number], surface: string): void {
    if (this.keepsRanges) this.surfaces.set(this.length, surface);
    this.push(id, range[0], range[1]);
  }

  /** Makes room for `extra` more tokens. */
  reserve(extra: number): void {
    const needed = this.length + extra;
    if (needed > this.ids.length) this.resize(Math.max(needed, this.ids.length * 2));
  }

  /** Makes just about enough room for the tokens of a text of which so many units were read. */
  expect(read: number, units: number): void {
    const likely = (this.length / read) * units;
    if (likely > this.ids.length) this.resize(Math.ceil(likely * LIKELY_ROOM));
  }

  /** Returns ids and ranges for the caller to keep: copies or, if they are nearly full, the arrays themselves. */
  take(): { readonly ids: Int32Array; readonly starts: Int32Array; readonly ends: Int32Array } {
    const { ids, starts, ends, length } = this;
    const isFull = ids.length < length * MAX_ROOM;
    if (isFull) this.ids = this.starts = this.ends = NONE;
    // What the memory to spare held before is nobody's business.
    const own = (values: Int32Array): Int32Array =>
      isFull ? values.fill(0, length).subarray(0, length) : values.slice(0, length);
    return { ids: own(ids), starts: own(starts), ends: own(ends) };
  }

  clear(keepsIds = true): void {
    this.length = 0;
    this.keepsIds = keepsIds;
    if (this.ids.length > this.firstRoom) this.ids = this.starts = this.ends = NONE;
    if (this.surfaces.size > 0) this.surfaces.clear();
  }

  private resize(capacity: number): void {
    if (!this.keepsIds) return;
    const extend = (old: Int32Array) => {
      const all = uncleared(capacity);
      all.set(old.subarray(0, this.length));
      return all;
    };
    this.ids = extend(this.ids);
    if (!this.keepsRanges) return;
    this.starts = extend(this.starts);
    this.ends = extend(this.ends);
  }
}
