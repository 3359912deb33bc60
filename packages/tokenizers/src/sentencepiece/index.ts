export type { Encoding } from "../encoding.js";
export { HeddleError, type HeddleErrorCode } from "../error.js";
export { fromSentencePiece } from "../formats/sentencepiece.js";
export type { SentencePieceOptions } from "../formats/sentencepiece-pieces.js";
export type { Tokenizer } from "../tokenizer.js";
