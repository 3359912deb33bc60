// 28 functions; with the types of their weights and options more than the usual 40 names, so that each can be written down.
export { type AlibiOptions, type AlibiOrder, alibi, alibiSlopes } from "./alibi.js";
export type { Alignment } from "./alignment.js";
export { type DebertaOptions, type DebertaWeights, deberta, debertaRow } from "./deberta.js";
export { distanceRow, distanceTable } from "./distance-table.js";
export { dynamicPositionBias } from "./dynamic-position-bias.js";
export { type FireWeights, fire } from "./fire.js";
export { type KerpleWeights, kerple } from "./kerple.js";
export { learned } from "./learned.js";
export type { PerceptronLayer } from "./perceptron.js";
export {
  type AddEncoding,
  type ApplyPositionsOptions,
  addPositions,
  applyPositions,
  type BiasEncoding,
  noPositions,
  type PositionEncoding,
  type PositionedHeads,
  type RotateEncoding,
  type ScoresEncoding,
} from "./position-encoding.js";
export { type RopeFrequencies, type RopeFrequencyOptions, ropeFrequencies } from "./rope-frequencies.js";
export type {
  DefaultScaling,
  DynamicScaling,
  LinearScaling,
  Llama3Scaling,
  LongRopeScaling,
  ProportionalScaling,
  RopeScaling,
  YarnScaling,
} from "./rope-scaling.js";
export { type RotaryOptions, rotary } from "./rotary.js";
export { multiSectionRotary, type RotaryAxesOptions, rotary2d } from "./rotary-axes.js";
export { rotaryEncoding } from "./rotary-encoding.js";
export type { RotaryLayout } from "./rotary-params.js";
export { type SandwichOptions, sandwich } from "./sandwich.js";
export { shaw, shawValues } from "./shaw.js";
export { type SinusoidalLayout, type SinusoidalOptions, sinusoidal, sinusoidalTable } from "./sinusoidal.js";
export { type T5BucketOptions, t5Bias, t5Bucket } from "./t5-bias.js";
export { type TransformerXlWeights, transformerXl } from "./transformer-xl.js";
export { type TupeWeights, tupe } from "./tupe.js";
export { type XlnetInput, type XlnetWeights, xlnet } from "./xlnet.js";
export { type XposOptions, xpos } from "./xpos.js";
