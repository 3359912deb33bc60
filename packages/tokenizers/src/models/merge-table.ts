import { PairTable } from "../pair-table.js";

/** Which neighbours merge: each merge of two symbols has a number, a rank (lower first) and a result. */
export class MergeTable {
  private readonly pairs: PairTable;
  /** Merges of symbols below LOW, which the first symbols of a word mostly are: a plain table. */
  private readonly low = new Int32Array(LOW * LOW).fill(-1);

  /**
   * @param results  the symbol that the merge with a given number makes; null: the number itself
   * @param ranks  rank of the merge with a given number; null: the number is the rank
   */
  constructor(
    expected: number,
    private readonly results: ArrayLike<number> | null,
    private readonly ranks: ArrayLike<number> | null,
  ) {
    this.pairs = new PairTable(expected);
  }

  set(left: number, right: number, merge: number): void {
    if ((left | right) < LOW) this.low[left * LOW + right] = merge;
    else this.pairs.set(left, right, merge);
  }

  /** Number of the merge of two symbols, or -1. */
  find(left: number, right: number): number {
    return (left | right) < LOW ? (this.low[left * LOW + right] as number) : this.pairs.get(left, right);
  }

  rankOf(merge: number): number {
    return this.ranks === null ? merge : (this.ranks[merge] as number);
  }

  resultOf(merge: number): number {
    return this.results === null ? merge : (this.results[merge] as number);
  }
}

/** Byte symbols are the first in most vocabularies, behind a few special tokens in others. */
const LOW = 512;
