/** A pair of symbols that may be merged, how often it occurs and in which words. */
export interface MergeCandidate {
  readonly left: number;
  readonly right: number;
  count: number;
  readonly words: readonly number[];
}

/** Tells whether `a` is to be merged before `b`. */
export type MergeOrder = (a: MergeCandidate, b: MergeCandidate) => boolean;

/** A binary heap of candidates. */
export class MergeQueue {
  private readonly items: MergeCandidate[] = [];

  constructor(private readonly isBefore: MergeOrder) {}

  push(item: MergeCandidate): void {
    const { items } = this;
    let at = items.length;
    items.push(item);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = items[parent] as MergeCandidate;
      if (!this.isBefore(item, above)) break;
      items[at] = above;
      at = parent;
    }
    items[at] = item;
  }

  pop(): MergeCandidate | undefined {
    const { items } = this;
    const top = items[0];
    const item = items.pop();
    if (top === undefined || item === undefined || items.length === 0) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= items.length) break;
      const other = items[child + 1];
      if (other !== undefined && this.isBefore(other, items[child] as MergeCandidate)) child++;
      const below = items[child] as MergeCandidate;
      if (!this.isBefore(below, item)) break;
      items[at] = below;
      at = child;
    }
    items[at] = item;
    return top;
  }
}
