export type { AddedToken } from "./added-tokens.js";
export { type ByteTokenizerOptions, createByteTokenizer } from "./byte-tokenizer.js";
export { type ColorTokensOptions, colorTokens } from "./color-tokens.js";
export { normalizeText, preTokenizeText, type Word } from "./components.js";
export {
  type CompressBytesOptions,
  compressBytes,
  decompressBytes,
} from "./compression/byte-pair-compressor.js";
export { createSamplingTokenizer, createTokenizer, type SamplingOptions } from "./create-tokenizer.js";
export type { Decoder } from "./decoders/decoder.js";
export type { StreamDecoder } from "./decoders/stream.js";
export type { Encoding } from "./encoding.js";
export { createEncodingPool, type EncodingPool, serveEncoding } from "./encoding-pool.js";
export { HeddleError, type HeddleErrorCode } from "./error.js";
export { fromCompact, toCompact } from "./formats/compact.js";
export {
  fromGgufVocabulary,
  type GgufTokenIds,
  type GgufVocabulary,
  type GgufVocabularyFlags,
} from "./formats/gguf.js";
export { loadTokenizer, type TokenizerFiles } from "./formats/load.js";
export { fromSentencePiece } from "./formats/sentencepiece.js";
export type { SentencePieceOptions } from "./formats/sentencepiece-pieces.js";
export { toSentencePiece } from "./formats/sentencepiece-writer.js";
export { fromTekken, type TekkenOptions } from "./formats/tekken.js";
export { fromTiktoken } from "./formats/tiktoken.js";
export { TIKTOKEN_PATTERNS, type TiktokenOptions } from "./formats/tiktoken-ranks.js";
export { toGgufVocabulary } from "./formats/to-gguf.js";
export { fromTokenizerJson, toTokenizerJson } from "./formats/tokenizer-json.js";
export { fromVocabJson, type VocabJsonOptions } from "./formats/vocab-json.js";
export { fromVocabTxt, type VocabTxtOptions } from "./formats/vocab-txt.js";
export {
  toTekken,
  toTiktoken,
  toVocabJson,
  toVocabTxt,
  type VocabJsonFiles,
} from "./formats/vocabulary-writers.js";
export type { Model } from "./models/model.js";
export { createNBestEncoder, type Segmentation } from "./n-best.js";
export type { Normalizer } from "./normalizers/normalizer.js";
export type { Padding } from "./padding.js";
export type { PostProcessor } from "./post-processors/post-processor.js";
export type { PreTokenizer } from "./pre-tokenizers/kinds.js";
export type { StreamEncoder } from "./stream-encoder.js";
export { spanTokens, type TokenSpan } from "./token-spans.js";
export type {
  DecodeOptions,
  EncodeBatchOptions,
  EncodeIdsOptions,
  EncodeOptions,
  StreamDecodeOptions,
  Tokenizer,
  TokenizerConfig,
  TokenRoles,
} from "./tokenizer.js";
export type { TrainedBpe } from "./training/bpe-trainer.js";
export {
  type TrainBpeOptions,
  type TrainByteLevelBpeOptions,
  trainBpe,
  trainByteLevelBpe,
} from "./training/byte-level-bpe.js";
export { type TrainCharacterLevelOptions, trainCharacterLevel } from "./training/character-level.js";
export { serveTraining } from "./training/counting-workers.js";
export { type TrainMorphemesOptions, trainMorphemes } from "./training/morpheme-trainer.js";
export type { TrainingControl, TrainingProgress, TrainingState } from "./training/progress.js";
export type { TrainSentencePieceOptions } from "./training/sentencepiece/options.js";
export { trainSentencePiece } from "./training/sentencepiece-trainer.js";
export { type TrainUnigramOptions, trainUnigram } from "./training/unigram-trainer.js";
export { type TrainWordLevelOptions, trainWordLevel } from "./training/word-level-trainer.js";
export { type TrainWordPieceOptions, trainWordPiece } from "./training/word-piece-trainer.js";
export type { WorkerLike } from "./training/worker-like.js";
export type { Truncation } from "./truncation.js";
