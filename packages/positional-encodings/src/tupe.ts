import { concat, HeddleError, scope, type Tensor } from "@heddle/tensor";
import { alignmentOf } from "./alignment.js";
import { checkShape } from "./check.js";
import type { BiasEncoding, ScoresEncoding } from "./position-encoding.js";

/** What TUPE learns of positions. */
export interface TupeWeights {
  /** p: a vector per position, [maxSeqLen, E]. */
  readonly positions: Tensor;
  /** U_Q, [H, D, E]. */
  readonly queryProjection: Tensor;
  /** U_K, [H, D, E]. */
  readonly keyProjection: Tensor;
  /** theta_1: score of every position as seen from [CLS] (position 0), [H]. Give both thetas or none. */
  readonly fromCls?: Tensor;
  /** theta_2: score of [CLS] as seen from every other position, [H]. */
  readonly toCls?: Tensor;
}

/**
 * Scores positions against positions with weights of their own: (p_i U_Q)(p_j U_K) / sqrt(2 D), beside q_i k_j / sqrt(2 D).
 *
 * Shapes: query [B, H, T, D], key [B, H, S, D] -> [1, H, T, S]; the values of query and key are not used. With thetas the scores
 * to and from position 0 are replaced. Differentiable in all weights.
 * @param options.relative  an encoding of kind "bias" that is added before the reset, as TUPE-R adds T5's buckets
 * @returns an encoding of kind "scores" that borrows the weights
 * @throws HeddleError "shape" if weights and heads do not fit, "config" if one theta is missing,
 * "capacity" if a position has no vector
 * @see Ke et al. 2021, Rethinking Positional Encoding in Language Pre-training, arXiv:2006.15595, section 3
 * Departures: none
 */
export function tupe(
  weights: TupeWeights,
  options: { readonly relative?: BiasEncoding } = {},
): ScoresEncoding {
  const { positions, queryProjection, keyProjection, fromCls, toCls } = weights;
  checkShape("tupe", { queryProjection }, ["H", "D", "E"]);
  const [H = 1, D = 1, E = 1] = queryProjection.shape;
  checkShape("tupe", { keyProjection }, [H, D, E]);
  checkShape("tupe", { positions }, ["maxSeqLen", E]);
  const isUntied = checkThetas(fromCls, toCls, H);
  const scale = (headDim: number) => 1 / Math.sqrt(2 * headDim);
  return {
    kind: "scores",
    scale,
    scores: (query, _key, alignment) => {
      const { queryLen, keyLen, queryStart } = alignmentOf("tupe", alignment);
      checkCapacity({
        rows: positions.shape[0] ?? 0,
        queryStart,
        end: Math.max(queryStart + queryLen, keyLen),
      });
      return scope(query.device, () => {
        const asked = positions
          .narrow(0, queryStart, queryStart + queryLen)
          .matmul(queryProjection, { transposeB: true });
        const answers = positions.narrow(0, 0, keyLen).matmul(keyProjection, { transposeB: true });
        const absolute = asked.matmul(answers, { transposeB: true }).mul(scale(D)).expandDims(0);
        const all = options.relative ? absolute.add(options.relative.bias(alignment)) : absolute;
        return isUntied && fromCls && toCls ? untieCls(all, { fromCls, toCls, queryStart }) : all;
      });
    },
  };
}

/** Replaces the row of query position 0 by theta_1 and the column of key 0 by theta_2: scores [1, H, T, S]. */
function untieCls(
  scores: Tensor,
  reset: { readonly fromCls: Tensor; readonly toCls: Tensor; readonly queryStart: number },
): Tensor {
  const [, H = 1, T = 1, S = 1] = scores.shape;
  const column = reset.toCls.reshape([1, H, 1, 1]).broadcastTo([1, H, T, 1]);
  const untied = S === 1 ? column : concat([column, scores.narrow(3, 1, S)], { axis: 3 });
  if (reset.queryStart > 0) return untied;
  const row = reset.fromCls.reshape([1, H, 1, 1]).broadcastTo([1, H, 1, S]);
  return T === 1 ? row : concat([row, untied.narrow(2, 1, T)], { axis: 2 });
}

function checkThetas(fromCls: Tensor | undefined, toCls: Tensor | undefined, numHeads: number): boolean {
  if ((fromCls === undefined) !== (toCls === undefined)) {
    throw new HeddleError(
      "config",
      `tupe: fromCls and toCls belong together; got only ${fromCls ? "fromCls" : "toCls"}. Give both, or none to leave [CLS] tied.`,
    );
  }
  if (fromCls && toCls) checkShape("tupe", { fromCls, toCls }, [numHeads]);
  return fromCls !== undefined;
}

function checkCapacity({ rows, queryStart, end }: { rows: number; queryStart: number; end: number }): void {
  if (queryStart >= 0 && end <= rows) return;
  throw new HeddleError(
    "capacity",
    `tupe: every query and key needs a position vector; got ${rows} vectors for positions ${Math.min(queryStart, 0)}..${end - 1}. Cut the text to ${rows} tokens.`,
    { rows, queryStart, end },
  );
}
