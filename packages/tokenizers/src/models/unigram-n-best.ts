import type { PathPiece, ScoredPath, UnigramLattice } from "./unigram-lattice.js";

/**
 * Finds the `size` best segmentations, best first: each place keeps its `size` best ways to get there.
 *
 * @see Kudo 2018, arXiv:1804.10959, section 3.3 (forward dynamic programming in place of backward A*: same result)
 */
export function nBest(lattice: UnigramLattice, size: number): ScoredPath[] {
  const { length, starts, arcScores } = lattice;
  const into = lattice.arcsByEnd();
  const ways: Way[][] = [[{ score: 0, arc: -1, before: null }]];
  for (let end = 1; end <= length; end++) {
    const found: Way[] = [];
    for (const arc of into[end] ?? []) {
      for (const before of ways[starts[arc] as number] ?? []) {
        found.push({ score: before.score + (arcScores[arc] as number), arc, before });
      }
    }
    ways[end] = found.sort((a, b) => b.score - a.score).slice(0, size);
  }
  return (ways[length] as Way[]).map((way) => {
    const path: PathPiece[] = [];
    for (let at: Way | null = way; at !== null && at.arc >= 0; at = at.before)
      path.push(lattice.pieceAt(at.arc));
    return { path: path.reverse(), score: way.score };
  });
}

/** One way to a place: its last arc and the way to where that begins. */
interface Way {
  readonly score: number;
  readonly arc: number;
  readonly before: Way | null;
}
