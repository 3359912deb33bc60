export type { Encoding } from "../encoding.js";
export { HeddleError, type HeddleErrorCode } from "../error.js";
export { fromVocabJson, type VocabJsonOptions } from "../formats/vocab-json.js";
export type { Tokenizer } from "../tokenizer.js";
