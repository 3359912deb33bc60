export { type FetchSourceOptions, fetchSource } from "./fetch-source.js";
export { type FileSink, memorySink, writeText } from "./file-sink.js";
export {
  blobSource,
  type FileSource,
  memorySource,
  type OpenFile,
  readFile,
  readJson,
  readText,
} from "./file-source.js";
export { dequantize } from "./gguf/dequantize.js";
export { type GgmlType, ggmlTypeInfo } from "./gguf/ggml-type.js";
export type { GgufTensor } from "./gguf/gguf-header.js";
export type { GgufArray, GgufNumberType, GgufScalarType, GgufValue } from "./gguf/gguf-value.js";
export { type LoadGgufTensorOptions, loadGgufTensor } from "./gguf/load-gguf-tensor.js";
export { type GgufFiles, type GgufPiece, type GgufRange, openGguf } from "./gguf/open-gguf.js";
export { beginBlock, type QuantizableType, quantize } from "./gguf/quantize.js";
export { quantizeOn } from "./gguf/quantize-on.js";
export { type GgufContent, type GgufTensorData, writeGguf } from "./gguf/write-gguf.js";
export type { StoredTensor } from "./header.js";
export { type LoadTensorsOptions, loadTensor, loadTensorPieces, loadTensors } from "./load-tensors.js";
export { openSafetensors, type SafetensorsFiles } from "./safetensors.js";
export { type SaveTensorsOptions, saveTensors } from "./save-tensors.js";
export type { StoredDType } from "./stored-dtype.js";
export { namedTensors, treeFromNamed } from "./tree-tensors.js";
