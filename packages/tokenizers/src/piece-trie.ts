import { PairTable } from "./pair-table.js";

/** The root of a PieceTrie. */
export const TRIE_ROOT = 0;

/**
 * A trie over UTF-16 units. Walk it with `child`; `valueAt` tells which value ends at a node (-1: none).
 * Several roots may be made with `addRoot`, so that one table holds several tries.
 */
export class PieceTrie {
  private readonly edges: PairTable;
  private readonly values: number[] = [-1];

  /** @param expected  how many nodes there will be, about */
  constructor(expected = 1024) {
    this.edges = new PairTable(expected);
  }

  addRoot(): number {
    this.values.push(-1);
    return this.values.length - 1;
  }

  add(piece: string, value: number, root = TRIE_ROOT): void {
    let node = root;
    for (let i = 0; i < piece.length; i++) {
      const unit = piece.charCodeAt(i);
      let next = this.edges.get(node, unit);
      if (next < 0) {
        next = this.addRoot();
        this.edges.set(node, unit, next);
      }
      node = next;
    }
    this.values[node] = value;
  }

  /** Returns the node behind `unit`, or -1. */
  child(node: number, unit: number): number {
    return this.edges.get(node, unit);
  }

  valueAt(node: number): number {
    return this.values[node] as number;
  }
}

/** Makes a trie of pieces whose values are their numbers. */
export function trieOf(pieces: Iterable<string>): PieceTrie {
  const trie = new PieceTrie();
  let count = 0;
  for (const piece of pieces) trie.add(piece, count++);
  return trie;
}

/** Returns the length in units of the longest piece of the trie that `text` has at `start`; 0 if none. */
export function longestPrefix(trie: PieceTrie, text: string, start: number): number {
  let node = TRIE_ROOT;
  let longest = 0;
  for (let i = start; i < text.length; i++) {
    node = trie.child(node, text.charCodeAt(i));
    if (node < 0) break;
    if (trie.valueAt(node) >= 0) longest = i + 1 - start;
  }
  return longest;
}
