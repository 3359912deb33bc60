export { type ChatMessage, type RenderChatOptions, renderChat } from "@heddle/tokenizers/chat";
export type {
  Architecture,
  HostArray,
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
} from "./blocks/attend.js";
export type {
  Activation,
  DecoderConfig,
  LayerConfig,
  ModelConfig,
  Positions,
  SpecialTokenIds,
} from "./config.js";
export { describe, type ModelDescription } from "./costs/describe.js";
export { type MemoryPlan, type PlanMemoryOptions, planMemory } from "./costs/plan-memory.js";
export { batchInputs } from "./decoder/batch-inputs.js";
export type { TokenChoice, Truncation } from "./decoder/choose-tokens.js";
export { createDecoder, type DecoderOptions } from "./decoder/create-decoder.js";
export type { DecodeAheadOptions } from "./decoder/decode-ahead.js";
export {
  type DecoderInputs,
  decoderHidden,
  decoderLogits,
  type HiddenStates,
  unembed,
} from "./decoder/decoder.js";
export { decoder } from "./decoder/decoder-architecture.js";
export type { DecoderBatch } from "./decoder/decoder-batch.js";
export type { Decoder } from "./decoder/decoder-interface.js";
export type {
  ClassPredictions,
  DisentangledConfig,
  EncoderConfig,
  Predictions,
  TokenPredictions,
} from "./encoder/config.js";
export { type EmbedTextsOptions, embedTexts } from "./encoder/embed-texts.js";
export { type EncoderInputs, encoderHidden, encoderLogits } from "./encoder/encoder.js";
export { encoder, encoderInputs } from "./encoder/encoder-architecture.js";
export { type Pooling, pool, unitLength } from "./encoder/pooling.js";
export {
  classifyTexts,
  classifyTokens,
  fillMask,
  type LabelledToken,
  type LabelScore,
  type MaskFill,
  type PredictTextsOptions,
} from "./encoder/predict-texts.js";
export type { DenseModule, SentenceModules } from "./encoder/sentence-modules.js";
export type { EncoderWeights } from "./encoder/weights.js";
export { loadBalancingLoss, routerZLoss } from "./experts/router-loss.js";
export type { AnswerOptions } from "./generation/answer-options.js";
export { type Beam, type BeamSearchOptions, beamSearch } from "./generation/beam-search.js";
export {
  type ContrastiveAnswer,
  type ContrastiveSearchOptions,
  contrastiveSearch,
} from "./generation/contrastive-search.js";
export { type GeneratedToken, type GenerateOptions, generate } from "./generation/generate.js";
export type { Prompt, SoundPrompt } from "./generation/prompt.js";
export { forceToken, minLength, suppressTokens } from "./generation/sampling/forcing.js";
export {
  badWords,
  exponentialDecay,
  frequencyPenalty,
  noRepeatNgram,
  presencePenalty,
  repetitionPenalty,
  sequenceBias,
} from "./generation/sampling/penalties.js";
export {
  chain,
  type LogitsProcessor,
  normalizeScores,
  temperature,
} from "./generation/sampling/processors.js";
export {
  createSampler,
  type DeviceSampling,
  type SampledToken,
  type Sampler,
  type TokenLogprob,
} from "./generation/sampling/sampler.js";
export type { PenaltyOptions, SamplingOptions } from "./generation/sampling/sampling-options.js";
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
} from "./generation/sampling/truncation.js";
export { createStopMatcher, type StopMatcher } from "./generation/stop-matcher.js";
export { type CalibrateOptions, calibrate } from "./gguf/calibrate.js";
export { loadAnyGguf, loadGguf } from "./gguf/load-gguf.js";
export { type GgufWeightType, type SaveGgufOptions, saveGguf } from "./gguf/save-gguf.js";
export { attentionPatterns } from "./inspection/attention-patterns.js";
export type { ActivationPoint, Activations, Inspection } from "./inspection/inspect.js";
export { inspectModel } from "./inspection/inspect-model.js";
export { type LensHeatMapOptions, lensHeatMap } from "./inspection/lens-heat-map.js";
export { type LensCell, logitLens, readLogitLens } from "./inspection/logit-lens.js";
export type { GenerationConfig } from "./loading/generation-config.js";
export { initWeights } from "./loading/init-weights.js";
export {
  type AnyModel,
  createModel,
  type LoadedModel,
  loadAnyModel,
  loadModel,
  loadModelOf,
} from "./loading/load-model.js";
export { type LoadWeightsOptions, loadWeights } from "./loading/load-weights.js";
export type { PackedCache, PackedCacheState } from "./loading/packed-cache.js";
export { configToJson, parseConfig, parseModelConfig } from "./loading/parse-config.js";
export { type SaveModelOptions, saveModel } from "./loading/save-model.js";
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
export type { Seq2SeqConfig, StackPositions } from "./seq2seq/config.js";
export { type LogMel, type LogMelOptions, logMel } from "./seq2seq/log-mel.js";
export {
  type Seq2SeqInputs,
  type Seq2SeqInspection,
  type SourceInputs,
  seq2seqHidden,
  seq2seqLogits,
  sourceHidden,
} from "./seq2seq/seq2seq.js";
export { seq2seq, seq2seqInputs } from "./seq2seq/seq2seq-architecture.js";
export {
  createSeq2SeqDecoder,
  type Seq2SeqDecoder,
  type Seq2SeqDecoderOptions,
} from "./seq2seq/seq2seq-decoder.js";
export {
  type AudioWindow,
  audioWindows,
  type TranscribeOptions,
  type Transcript,
  transcribe,
} from "./seq2seq/transcribe.js";
export type { Seq2SeqWeights } from "./seq2seq/weights.js";
export type {
  AttentionWeights,
  DecoderWeights,
  ExpertsWeights,
  LayerWeights,
  LinearWeights,
  MakeWeight,
  MlpWeights,
  NormWeights,
} from "./weights.js";
