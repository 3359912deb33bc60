import {
  type AttentionOptions,
  allOf,
  attention,
  type Mask,
  padding,
  slidingWindow,
} from "@heddle/attention";
import type { Tensor } from "@heddle/tensor";
import { type Attend, type AttendInputs, asHeads } from "./attend.js";

/** What positions add to scaled scores in one layer: a matrix, or a row by distance. */
export type ScoreBias = (
  layer: number,
  heads: Pick<AttendInputs, "query_BHTD" | "key_BGTD">,
) => Pick<AttentionOptions, "bias" | "distanceBias">;

/**
 * Every token sees every other of its row, within the layer's window (as far to the right as to the left).
 *
 * @param options.mask  true for tokens, false for padding, [B, T] bool. Default: no padding
 * @param options.bias  added to scaled scores
 */
export function bidirectionalAttend({
  mask,
  bias,
}: {
  readonly mask?: Tensor | undefined;
  readonly bias?: ScoreBias | undefined;
} = {}): Attend {
  return (layer, inputs) => {
    const { query_BHTD, key_BGTD, value_BGTD, scale, window } = asHeads(inputs);
    const masks: Mask[] = [
      ...(mask === undefined ? [] : [padding(mask)]),
      ...(window === undefined ? [] : [slidingWindow(window)]),
    ];
    return attention(query_BHTD, key_BGTD, value_BGTD, {
      mask: allOf(...masks),
      scale,
      ...bias?.(layer, { query_BHTD, key_BGTD }),
    });
  };
}
