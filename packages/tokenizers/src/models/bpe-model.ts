/** Byte-pair encoding over the characters of a word. */
export interface BpeModel {
  readonly type: "BPE";
  /** (token, id) in ascending order of id. */
  readonly vocab: readonly (readonly [string, number])[];
  /** Pairs in order of rank. */
  readonly merges: readonly (readonly [string, string])[];
  readonly unkToken: string | null;
  readonly continuingSubwordPrefix: string | null;
  readonly endOfWordSuffix: string | null;
  /** Neighbouring unknown characters become one token. */
  readonly fuseUnk: boolean;
  /** Unknown characters become their UTF-8 bytes, tokens `<0x00>` to `<0xFF>`. */
  readonly byteFallback: boolean;
  /** A word that is in the vocabulary is taken whole. */
  readonly ignoreMerges: boolean;
  /** Probability that a possible merge is passed over, drawn anew for each text; absent or null: none. */
  readonly dropout?: number | null;
}
