import {
  arange,
  concat,
  cumsum,
  defineOp,
  HeddleError,
  logsumexp,
  type Op,
  sort,
  type Tensor,
  type TensorType,
  take,
  where,
} from "@heddle/tensor";
import { chooseTokensWasm } from "./kernels/choose-tokens.wasm.js";
import { type ChooseTokensParams, chooseTokensWgsl } from "./kernels/choose-tokens.wgsl.js";

/**
 * Chooses a token of each row. Inputs: logits [O, V]; but for "likeliest" numbers in [0, 1) by which rows draw [O]; for "rows"
 * temperatures [O]; for "truncated" then filters [O, 3]: k (0: all), the share of the mass (1: all) and the least share of the likeliest
 * token (0: all), each on what the one before leaves. Shapes: -> tokens i32 [O], results f32 [O, 2]: token and its log-probability at temperature 1. Of equal logits
 * the first is taken; a logit that is no number makes the log-probability none.
 */
export const chooseTokensOp: Op<ChooseTokensParams> = defineOp({
  name: "chooseTokens",
  infer([logits, ...drawing], { kind }) {
    const [rows = 0] = logits?.shape ?? [];
    const wanted = { likeliest: 0, drawn: 1, rows: 2, truncated: 3 }[kind];
    const isOfRows = ({ shape }: TensorType, at: number) =>
      shape[0] === rows && (at === 2 ? shape.length === 2 && shape[1] === 3 : shape.length === 1);
    if (drawing.length !== wanted || !drawing.every(isOfRows)) {
      const shapes = drawing.map(({ shape }) => `[${shape.join(", ")}]`).join(", ");
      const message = `chooseTokens: there must be ${wanted} vectors of a number (the third: of 3) for each row; got ${shapes || "none"} for logits [${logits?.shape.join(", ")}]. Pass draws and temperatures of that extent.`;
      throw new HeddleError("shape", message, { rows, shapes });
    }
    return [
      { shape: [rows], dtype: "i32" },
      { shape: [rows, 2], dtype: "f32" },
    ];
  },
  reference([logits, draws, temperatures, filters], { temperature }) {
    if (logits === undefined) return [];
    const scores = logits.dtype === "f32" ? logits : logits.cast("f32");
    const tokens =
      draws === undefined
        ? scores.argmax({ axis: 1 })
        : drawTokens(scores, { draws, temperature: temperatures ?? temperature, filters });
    return [tokens, withLogprobs(scores, tokens)];
  },
  kernels: { wasm: chooseTokensWasm, wgsl: ({ inputs, params }) => chooseTokensWgsl(inputs, params) },
});

interface Drawing {
  readonly temperature: number | Tensor;
  readonly draws: Tensor;
  readonly filters: Tensor | undefined;
}

function drawTokens(scores_OV: Tensor, { temperature, draws, filters }: Drawing): Tensor {
  const draws_O1 = draws.expandDims(1);
  if (typeof temperature === "number") return drawnTokens(scores_OV.div(temperature).softmax(), draws_O1);
  const isDrawn = temperature.greater(0);
  const heat_O1 = where(isDrawn, temperature, 1).expandDims(1);
  const heated = scores_OV.div(heat_O1);
  const probabilities = filters === undefined ? heated.softmax() : truncated(heated, filters);
  return where(isDrawn, drawnTokens(probabilities, draws_O1), scores_OV.argmax({ axis: 1 }));
}

/** Probabilities of what top-k, top-p and the least share leave of each row, by sorting. Of equals those of low ids go first. */
function truncated(scores_OV: Tensor, filters_O3: Tensor): Tensor {
  const [, width = 0] = scores_OV.shape;
  const filter = (at: number) => filters_O3.narrow(1, at, at + 1);
  const backwards = arange(scores_OV.device, width, { dtype: "i32" })
    .mul(-1)
    .add(width - 1);
  const { values, indices } = sort(take(scores_OV, backwards, { axis: 1 }), { descending: true });
  const greatest = values.narrow(1, 0, 1);
  const k = filter(0);
  const last = where(k.greater(0), k.minimum(width), width).sub(1).cast("i32");
  const few = where(values.greaterEqual(values.gather(last, { axis: 1 })), values.sub(greatest).exp(), 0);
  const before = cumsum(few, { axis: 1 }).sub(few);
  const isMass = before.less(few.sum({ axes: 1, keepDims: true }).mul(filter(1)));
  const isLikely = values.greaterEqual(greatest.add(filter(2).log()));
  const kept = where(isMass.logicalAnd(isLikely), few, 0);
  // Back to the order of ids.
  const places = sort(indices).indices;
  const weights = take(kept.gather(places, { axis: 1 }), backwards, { axis: 1 });
  return weights.div(weights.sum({ axes: 1, keepDims: true }));
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
