export { openAnyModel, openModel, saveModelDirectory } from "./model-directory.js";
export type { OpenModelOptions } from "./packed-folder.js";
