export type { EngineTokenizer } from "./admission.js";
export { type CollectedGeneration, collect } from "./collect.js";
export {
  createEngine,
  type Engine,
  type EngineOptions,
  type EngineStats,
  type Generation,
} from "./engine.js";
export type { EngineEvent, EngineTotals, LatencySummary, MeterReading } from "./metrics.js";
export type { FinishReason, GenerationOptions, TokenEvent } from "./request.js";
export type { TokenDecoder } from "./stream.js";
