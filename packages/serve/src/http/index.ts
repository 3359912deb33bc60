export { type AppOptions, createApp, type MetricsPage } from "./app.js";
export type { Page, PageAsset } from "./page.js";
export { type PreparedModel, type PrepareOptions, prepareModel } from "./prepare-model.js";
export type { ChatFormat, ServedModel, ServedTokenizer, Tokenization } from "./served-model.js";
export { createServedTokenizer } from "./served-tokenizer.js";
