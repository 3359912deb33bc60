import type { InPlaceChange } from "./normalizers/compiled.js";
import { platformBuffer } from "./platform-buffer.js";
import { textOfUnits } from "./vocabulary.js";

/** Longer texts do not keep their memory. */
const MAX_KEPT = 1 << 22;
/** From this length on the platform's own copy, where it has one, is worth its call. */
const MIN_COPIED = 64;

/** Where words are stored with their low byte first, as UTF-16LE is. */
const copiers = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1 ? platformBuffer : undefined;

/**
 * The UTF-16 units of a text, changed on the way if something changes in place, in a typed array, which is read many
 * times faster than a string; reused for many texts.
 */
export class TextUnits {
  units = new Uint16Array(256);
  /** One past the last unit. */
  length = 0;
  private pairs = new Int32Array(this.units.buffer);
  private copier = copiers?.from(this.units.buffer);
  /** The text as a string; null: it is not what it was. */
  private whole: string | null = "";

  /** Units [start, end) as a string. */
  slice(start: number, end = this.length): string {
    return this.whole?.slice(start, end) ?? textOfUnits(this.units, start, end);
  }

  /** Reads a text. What a change puts before it does not come with it: room is left there. */
  load(text: string, change: InPlaceChange | null = null): void {
    const room = change?.prefix.length ?? 0;
    const length = room + text.length;
    if (this.units.length < length) this.resize(Math.max(length, 2 * this.units.length));
    const { units, copier } = this;
    if (copier !== undefined && length > MIN_COPIED) copier.write(text, 2 * room, "utf16le");
    else for (let at = room; at < length; at++) units[at] = text.charCodeAt(at - room);
    for (const [from, to] of change?.replaced ?? []) replaceUnits(this.pairs, (length + 1) >> 1, from, to);
    this.length = length;
    this.whole = change === null ? text : null;
  }

  /** Lets the text go. */
  clear(): void {
    this.whole = "";
    if (this.units.length > MAX_KEPT) this.resize(256);
  }

  private resize(length: number): void {
    this.units = new Uint16Array(length + (length & 1));
    this.pairs = new Int32Array(this.units.buffer);
    this.copier = copiers?.from(this.units.buffer);
  }
}

/** Puts one unit in the place of another one, two units a step and without a branch: which ones change, no processor foresees. */
function replaceUnits(pairs: Int32Array, count: number, from: number, to: number): void {
  const both = from * 0x10001;
  for (let i = 0; i < count; i++) {
    const pair = pairs[i] as number;
    const differs = pair ^ both;
    // The highest bit of each half that differs in none.
    const same = ~(((differs & 0x7fff7fff) + 0x7fff7fff) | 0 | differs | 0x7fff7fff);
    pairs[i] = pair ^ Math.imul(same >>> 15, from ^ to);
  }
}
