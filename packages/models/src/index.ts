export type {
  Architecture,
  MakeWeight,
  ModelCosts,
  ModelParts,
  StartedDecoder,
  TokenRows,
} from "./architecture.js";
export {
  type Attend,
  type AttendInputs,
  cacheAttend,
  fullAttend,
  type LatentAttendInputs,
  type ScoreRules,
} from "./attend.js";
export { attentionPatterns } from "./attention-patterns.js";
export { batchInputs } from "./batch-inputs.js";
export { type Beam, type BeamSearchOptions, beamSearch } from "./beam-search.js";
export { type ChatMessage, type RenderChatOptions, renderChat } from "./chat.js";
export type { TokenChoice } from "./choose-tokens.js";
export type {
  Activation,
  DecoderConfig,
  LayerConfig,
  ModelConfig,
  Positions,
  SpecialTokenIds,
} from "./config.js";
export { type ContrastiveSearchOptions, contrastiveSearch } from "./contrastive-search.js";
export { createDecoder, type Decoder, type DecoderOptions } from "./create-decoder.js";
export type { DecodeAheadOptions } from "./decode-ahead.js";
export {
  type DecoderInputs,
  decoderHidden,
  decoderLogits,
  type HiddenStates,
  unembed,
} from "./decoder.js";
export { decoder } from "./decoder-architecture.js";
export type { DecoderBatch } from "./decoder-batch.js";
export { describe, type ModelDescription } from "./describe.js";
export { type EmbedTextsOptions, embedTexts } from "./embed-texts.js";
export type {
  ClassPredictions,
  DisentangledConfig,
  EncoderConfig,
  Predictions,
  TokenPredictions,
} from "./encoder/config.js";
export { type EncoderInputs, encoderHidden, encoderLogits } from "./encoder/encoder.js";
export { encoder, encoderInputs } from "./encoder/encoder-architecture.js";
export { type Pooling, pool, unitLength } from "./encoder/pooling.js";
export type { EncoderWeights } from "./encoder/weights.js";
export { type GeneratedToken, type GenerateOptions, generate } from "./generate.js";
export type { GenerationConfig } from "./generation-config.js";
export { loadGguf } from "./gguf/load-gguf.js";
export { type GgufWeightType, type SaveGgufOptions, saveGguf } from "./gguf/save-gguf.js";
export { initWeights } from "./init-weights.js";
export type { ActivationPoint, Activations, Inspection } from "./inspect.js";
export {
  type AnyModel,
  createModel,
  type LoadedModel,
  loadAnyModel,
  loadModel,
  loadModelOf,
} from "./load-model.js";
export { type LoadWeightsOptions, loadWeights } from "./load-weights.js";
export { logitLens } from "./logit-lens.js";
export { configToJson, parseConfig, parseModelConfig } from "./parse-config.js";
export type { PermutationConfig } from "./permutation/config.js";
export {
  type PermutationHidden,
  type PermutationInputs,
  permutationHidden,
  permutationLogits,
  permutationUnembed,
} from "./permutation/permutation.js";
export { permutation } from "./permutation/permutation-architecture.js";
export type { PermutationWeights } from "./permutation/weights.js";
export { type MemoryPlan, type PlanMemoryOptions, planMemory } from "./plan-memory.js";
export type {
  GroupedSelectiveMixer,
  Mixer,
  RecurrentConfig,
  RetentionMixer,
  SelectiveMixer,
  WkvMixer,
} from "./recurrent/config.js";
export {
  type LayerState,
  type RecurrentHidden,
  type RecurrentInputs,
  type RecurrentState,
  type RecurrentWeights,
  recurrentHidden,
  recurrentLogits,
} from "./recurrent/recurrent.js";
export { recurrent } from "./recurrent/recurrent-architecture.js";
export { createRecurrentDecoder, type RecurrentDecoderOptions } from "./recurrent/recurrent-decoder.js";
export { type RetentionOptions, retention } from "./recurrent/retention.js";
export { type ScanResult, type SelectiveScanInputs, selectiveScan } from "./recurrent/selective-scan.js";
export { type WkvScanInputs, wkvScan } from "./recurrent/wkv-scan.js";
export { loadBalancingLoss, routerZLoss } from "./router-loss.js";
export { forceToken, minLength, suppressTokens } from "./sampling/forcing.js";
export {
  badWords,
  exponentialDecay,
  frequencyPenalty,
  noRepeatNgram,
  presencePenalty,
  repetitionPenalty,
  sequenceBias,
} from "./sampling/penalties.js";
export { chain, type LogitsProcessor, normalizeScores, temperature } from "./sampling/processors.js";
export {
  createSampler,
  type SampledToken,
  type Sampler,
  type TokenLogprob,
} from "./sampling/sampler.js";
export type { SamplingOptions } from "./sampling/sampling-options.js";
export {
  epsilonCutoff,
  etaCutoff,
  excludeTopChoices,
  minP,
  topH,
  topK,
  topNSigma,
  topP,
  typical,
} from "./sampling/truncation.js";
export { type SaveModelOptions, saveModel } from "./save-model.js";
export type { Seq2SeqConfig, StackPositions } from "./seq2seq/config.js";
export { type LogMel, type LogMelOptions, logMel } from "./seq2seq/log-mel.js";
export {
  type Seq2SeqInputs,
  type SourceInputs,
  seq2seqHidden,
  seq2seqLogits,
  sourceHidden,
} from "./seq2seq/seq2seq.js";
export { seq2seq, seq2seqInputs } from "./seq2seq/seq2seq-architecture.js";
export { createSeq2SeqDecoder, type Seq2SeqDecoderOptions } from "./seq2seq/seq2seq-decoder.js";
export type { Seq2SeqWeights } from "./seq2seq/weights.js";
export { createStopMatcher, type StopMatcher } from "./stop-matcher.js";
export type {
  AttentionWeights,
  DecoderWeights,
  ExpertsWeights,
  LayerWeights,
  LinearWeights,
  MlpWeights,
  NormWeights,
} from "./weights.js";
