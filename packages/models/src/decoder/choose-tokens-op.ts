import {
  concat,
  cumsum,
  defineOp,
  HeddleError,
  logsumexp,
  type Op,
  type Tensor,
  where,
} from "@heddle/tensor";
import { type ChooseTokensParams, chooseTokensWgsl } from "./kernels/choose-tokens.wgsl.js";

/**
 * Chooses a token of each row. Inputs: logits [O, V]; but for "likeliest" numbers in [0, 1) by which rows draw [O]; for "rows"
 * temperatures [O]. Shapes: -> tokens i32 [O], results f32 [O, 2]: token and its log-probability at temperature 1. Of equal logits
 * the first is taken; a logit that is no number makes the log-probability none.
 */
export const chooseTokensOp: Op<ChooseTokensParams> = defineOp({
  name: "chooseTokens",
  infer([logits, ...drawing], { kind }) {
    const [rows = 0] = logits?.shape ?? [];
    const wanted = { likeliest: 0, drawn: 1, rows: 2 }[kind];
    if (drawing.length !== wanted || drawing.some(({ shape }) => shape.length !== 1 || shape[0] !== rows)) {
      const shapes = drawing.map(({ shape }) => `[${shape.join(", ")}]`).join(", ");
      const message = `chooseTokens: there must be ${wanted} vectors of a number for each row; got ${shapes || "none"} for logits [${logits?.shape.join(", ")}]. Pass draws and temperatures of that extent.`;
      throw new HeddleError("shape", message, { rows, shapes });
    }
    return [
      { shape: [rows], dtype: "i32" },
      { shape: [rows, 2], dtype: "f32" },
    ];
  },
  reference([logits, draws, temperatures], { temperature }) {
    if (logits === undefined) return [];
    const scores = logits.dtype === "f32" ? logits : logits.cast("f32");
    const tokens =
      draws === undefined
        ? scores.argmax({ axis: 1 })
        : drawTokens(scores, { draws, temperature: temperatures ?? temperature });
    return [tokens, withLogprobs(scores, tokens)];
  },
  kernels: { wgsl: ({ inputs, params }) => chooseTokensWgsl(inputs, params) },
});

function drawTokens(
  scores_OV: Tensor,
  { temperature, draws }: { readonly temperature: number | Tensor; readonly draws: Tensor },
): Tensor {
  const draws_O1 = draws.expandDims(1);
  if (typeof temperature === "number") return drawnTokens(scores_OV.div(temperature).softmax(), draws_O1);
  const isDrawn = temperature.greater(0);
  const heat_O1 = where(isDrawn, temperature, 1).expandDims(1);
  return where(
    isDrawn,
    drawnTokens(scores_OV.div(heat_O1).softmax(), draws_O1),
    scores_OV.argmax({ axis: 1 }),
  );
}

/** The first token at which the running sum reaches the draw; the last possible one where rounding keeps it below. */
function drawnTokens(probabilities_OV: Tensor, draws_O1: Tensor): Tensor {
  const sums = cumsum(probabilities_OV, { axis: 1 });
  const reached = sums.greaterEqual(draws_O1.minimum(sums.max({ axes: 1, keepDims: true })));
  // A token of probability 0 does not raise the sum, so the first that reaches it is a possible one, unless the draw is 0.
  return reached.logicalAnd(probabilities_OV.greater(0)).cast("f32").argmax({ axis: 1 });
}

/** Tokens beside their log-probabilities. Shapes: scores [O, V], tokens i32 [O] -> [O, 2]. */
function withLogprobs(scores_OV: Tensor, tokens_O: Tensor): Tensor {
  const chosen = scores_OV.gather(tokens_O.expandDims(1), { axis: 1 }).reshape([-1]);
  const results = [tokens_O.cast("f32"), chosen.sub(logsumexp(scores_OV, { axes: 1 }))];
  return concat(
    results.map((x) => x.expandDims(1)),
    { axis: 1 },
  );
}
