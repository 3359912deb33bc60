export {
  type ErrorFeedbackOptions,
  type RoundElement,
  type RoundedColumns,
  roundWithFeedback,
} from "./error-feedback.js";
export {
  type InputMoments,
  type InputObserver,
  type ObserveOptions,
  observeInputs,
} from "./input-moments.js";
export { quantBlockTypes } from "./panels-from-blocks.js";
export {
  BLOCK_SIZE,
  codePieces,
  listParts,
  nameParts,
  PANEL_LAYOUT_VERSION,
  PANEL_ROWS,
  type PartName,
  panelCounts,
  partNames,
  partTypes,
  type QuantFormat,
  type QuantLayout,
} from "./quant-format.js";
export {
  type BlockPacker,
  type BlockPlace,
  createBlockPacker,
  formatOfBlocks,
  layoutOfBlocks,
  quantFromBlocks,
} from "./quant-from-blocks.js";
export { QuantStack, quantizeStack } from "./quant-stack.js";
export { type QuantParts, QuantTensor, quantFromParts } from "./quant-tensor.js";
export { type QuantizeTensorOptions, type QuantScheme, quantizeTensor } from "./quantize-tensor.js";
export {
  everyMatrix,
  type QuantizeWeightsOptions,
  type QuantRecipe,
  quantizeWeights,
} from "./quantize-weights.js";
