import { arange, HeddleError, scope, type Tensor } from "@heddle/tensor";
import { checkShape } from "./check.js";
import type { AddEncoding } from "./position-encoding.js";

/**
 * Adds a learned vector to each token: y = x + table[position + offset].
 *
 * Shapes: x [B, T, E], table [maxSeqLen + offset, E] -> [B, T, E]; positions [T] or [B, T] int32, in tokens, default 0..T-1
 * (with given positions a row outside the table adds zeros). Differentiable in x and table.
 * @param options.offset  rows before position 0, in tokens. Default 0; OPT's checkpoints have 2
 * @returns an encoding of kind "add" that borrows the table
 * @throws HeddleError "shape" if the table is no matrix of x's features, "capacity" if it has fewer rows than the text
 * @see Gehring et al. 2017, arXiv:1705.03122, section 3.1; Zhang et al. 2022, OPT, arXiv:2205.01068. Departures: none
 */
export function learned(table: Tensor, options: { readonly offset?: number } = {}): AddEncoding {
  const { offset = 0 } = options;
  checkShape("learned", { table }, ["maxSeqLen + offset", "E"]);
  const [rows = 0, modelDim = 0] = table.shape;
  return {
    kind: "add",
    addTo: (x, { positions } = {}) => {
      checkShape("learned", { x }, ["B", "T", modelDim]);
      const seqLen = x.shape[1] ?? 0;
      if (positions === undefined && seqLen + offset > rows) {
        throw new HeddleError(
          "capacity",
          `learned: the table must have a row for every token; got ${rows} rows, offset ${offset}, seqLen ${seqLen}. Cut the text to ${rows - offset} tokens.`,
          { rows, offset, seqLen },
        );
      }
      return scope(x.device, () => {
        const at = positions ?? arange(x.device, seqLen, { dtype: "i32" });
        return x.add(table.take(at.add(offset)));
      });
    },
  };
}
