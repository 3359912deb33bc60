export { type FetchSourceOptions, fetchSource } from "./fetch-source.js";
export { type FileSink, memorySink, writeText } from "./file-sink.js";
export { blobSource, type FileSource, memorySource, readFile, readJson, readText } from "./file-source.js";
export type { StoredTensor } from "./header.js";
export { type LoadTensorsOptions, loadTensor, loadTensors } from "./load-tensors.js";
export { openSafetensors, type SafetensorsFiles } from "./safetensors.js";
export { type SaveTensorsOptions, saveTensors } from "./save-tensors.js";
export type { StoredDType } from "./stored-dtype.js";
export { namedTensors, treeFromNamed } from "./tree-tensors.js";
