/** Longer texts do not keep their memory. */
const MAX_KEPT = 1 << 22;

/** A text and its UTF-16 units in a typed array, which is read many times faster than a string; reused for many texts. */
export class TextUnits {
  text = "";
  units = new Uint16Array(256);

  get length(): number {
    return this.text.length;
  }

  load(text: string): void {
    const { length } = text;
    if (this.units.length < length) this.units = new Uint16Array(Math.max(length, 2 * this.units.length));
    const { units } = this;
    for (let at = 0; at < length; at++) units[at] = text.charCodeAt(at);
    this.text = text;
  }

  /** Lets the text go. */
  clear(): void {
    this.text = "";
    if (this.units.length > MAX_KEPT) this.units = new Uint16Array(256);
  }
}
