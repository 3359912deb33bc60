export { openAnyModel, openModel, saveModelDirectory } from "./model-directory.js";
