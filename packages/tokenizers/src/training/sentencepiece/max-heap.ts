/**
 * A binary heap that gives the item of the greatest key. Among equal keys it gives the one that the heap of the C++
 * library libstdc++ gives after the same pushes and pops.
 */
export class MaxHeap<Item> {
  private readonly items: Item[] = [];

  constructor(private readonly keyOf: (item: Item) => number) {}

  push(item: Item): void {
    this.items.push(item);
    this.rise(this.items.length - 1, item);
  }

  pop(): Item | undefined {
    const { items } = this;
    const top = items[0];
    const last = items.pop();
    if (top === undefined || last === undefined || items.length === 0) return top;
    // The hole sinks to the bottom, then the last item rises from there.
    let hole = 0;
    for (let child = 2; child <= items.length; child = 2 * hole + 2) {
      const isLeft = child === items.length || this.key(child) < this.key(child - 1);
      const greater = isLeft ? child - 1 : child;
      items[hole] = items[greater] as Item;
      hole = greater;
    }
    this.rise(hole, last);
    return top;
  }

  private key(at: number): number {
    return this.keyOf(this.items[at] as Item);
  }

  private rise(from: number, item: Item): void {
    const key = this.keyOf(item);
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!(this.key(parent) < key)) break;
      this.items[at] = this.items[parent] as Item;
      at = parent;
    }
    this.items[at] = item;
  }
}
