import { copyTo } from "./copy-to.js";

/** A buffer that grew beyond this many tokens gives its memory back when it is cleared. */
const MAX_KEPT = 1 << 20;

const NONE = new Int32Array(0);

/** What is kept of each token: nothing but their number, the id, or the id and the range. */
export type Kept = "count" | "ids" | "ranges";

/**
 * A growing list of tokens in typed arrays: id and [start, end) in units of the text that they were found in.
 */
export class TokenBuffer {
  length = 0;
  ids = NONE;
  starts = NONE;
  ends = NONE;
  keepsIds = true;
  keepsRanges = true;
  /** Text of tokens whose surface is not the vocabulary's, by index: unknown pieces, added tokens with spaces. */
  readonly surfaces = new Map<number, string>();

  push(id: number, start: number, end: number): void {
    const at = this.length;
    this.length = at + 1;
    if (!this.keepsIds) return;
    if (at === this.ids.length) this.resize(at * 2 + 64);
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

  clear(keeps: Kept = "ranges"): void {
    this.length = 0;
    this.keepsIds = keeps !== "count";
    this.keepsRanges = keeps === "ranges";
    if (this.ids.length > MAX_KEPT) this.ids = this.starts = this.ends = NONE;
    if (this.keepsRanges && this.starts.length < this.ids.length) this.resize(this.ids.length);
    if (this.surfaces.size > 0) this.surfaces.clear();
  }

  /** Ranges that nobody wants keep their short arrays: every new page of memory costs. */
  private resize(capacity: number): void {
    const extend = (old: Int32Array<ArrayBuffer>) =>
      copyTo(new Int32Array(capacity), old.subarray(0, this.length));
    this.ids = extend(this.ids);
    if (!this.keepsRanges) return;
    this.starts = extend(this.starts);
    this.ends = extend(this.ends);
  }
}
