/** A training step: GPT-2 blocks with a tied embedding. */
export interface TrainingShape {
  readonly modelDim: number;
  readonly numLayers: number;
  readonly numHeads: number;
  readonly seqLen: number;
  readonly batchSize: number;
  readonly vocabSize: number;
}

/** 5.9 million weights, 2048 tokens a step. */
export const smallGpt2: TrainingShape = {
  modelDim: 256,
  numLayers: 6,
  numHeads: 8,
  seqLen: 256,
  batchSize: 8,
  vocabSize: 4096,
};

/** Multiplications and additions of one step: three products of each matrix and token (forward, and two backward). */
export function stepFlops({ modelDim, numLayers, seqLen, batchSize, vocabSize }: TrainingShape): number {
  const perToken = numLayers * (12 * modelDim ** 2 + seqLen * modelDim) + vocabSize * modelDim;
  return 6 * perToken * batchSize * seqLen;
}
