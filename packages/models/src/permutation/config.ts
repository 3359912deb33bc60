import type { Activation, ModelConfig, NormConfig } from "../config.js";

/** What a permutation language model computes, apart from its weights. @see Yang et al. 2019, XLNet, arXiv:1906.08237 */
export interface PermutationConfig extends ModelConfig {
  readonly modelDim: number;
  readonly ffnDim: number;
  readonly numLayers: number;
  readonly numHeads: number;
  readonly headDim: number;
  readonly norm: NormConfig;
  readonly activation: Activation;
  /** Places that a layer remembers of earlier pieces of a text; 0: none. */
  readonly memoryLen: number;
  /** Distances beyond this many tokens count as it. Absent: no limit. */
  readonly maxDistance?: number;
}
