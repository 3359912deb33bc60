export { openModel, saveModelDirectory } from "./model-directory.js";
