export type { Encoding } from "../encoding.js";
export { HeddleError, type HeddleErrorCode } from "../error.js";
export { fromVocabTxt, type VocabTxtOptions } from "../formats/vocab-txt.js";
export type { Tokenizer } from "../tokenizer.js";
