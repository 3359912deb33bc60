import type { PackJob } from "./pack-codes.js";
import { q2K, q3K, q4K, q5K, q6K } from "./pack-k.js";
import { iq4Nl, mxfp4, q4_0, q4_1, q5_0, q5_1, q8_0 } from "./pack-legacy.js";

/** How the blocks of a GGUF type become codes and scales of a panel; the formulas are those of ggml/. */
export interface BlockWriter {
  /** Bytes of codes and number of groups that sixteen blocks, one a row, become. */
  readonly codeBytes: number;
  readonly groups: number;
  write(job: PackJob): void;
}

/** The kernels by type: one for each type that `quantFromBlocks` takes. */
export const writers: Readonly<Record<string, BlockWriter>> = {
  Q4_0: q4_0,
  Q4_1: q4_1,
  Q5_0: q5_0,
  Q5_1: q5_1,
  Q8_0: q8_0,
  Q2_K: q2K,
  Q3_K: q3K,
  Q4_K: q4K,
  Q5_K: q5K,
  Q6_K: q6K,
  IQ4_NL: iq4Nl,
  MXFP4: mxfp4,
};
