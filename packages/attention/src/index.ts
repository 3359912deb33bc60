export { type AttentionOptions, type AttentionWithLse, attention, attentionWithLse } from "./attention.js";
export {
  type AllOfMask,
  allOf,
  type CausalMask,
  causal,
  type Mask,
  type PaddingMask,
  padding,
  type SlidingWindowMask,
  slidingWindow,
} from "./masks.js";
