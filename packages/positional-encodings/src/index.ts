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
export type { RotaryLayout } from "./rotary-params.js";
