import {
  add,
  concat,
  exp,
  fillLike,
  mul,
  neg,
  relu,
  sigmoid,
  square,
  sub,
  type Tensor,
} from "@heddle/tensor";
import { normalize } from "../blocks/norm.js";
import { project } from "../blocks/project.js";
import type { NormConfig } from "../config.js";
import { buildLinear, buildNorm, type LinearWeights, type MakeWeight, type NormWeights } from "../weights.js";
import type { WkvMixer } from "./config.js";
import type { Mixed, MixerInput } from "./mamba.js";
import { wkvScan } from "./wkv-scan.js";

/** A projection of a blend of each token with the one before it. */
interface ShiftedLinear extends LinearWeights {
  /** Share of the token itself, [1, 1, E]. */
  readonly mix: Tensor;
}

export interface WkvWeights {
  readonly attentionNorm: NormWeights;
  readonly attention: {
    readonly key: ShiftedLinear;
    readonly value: ShiftedLinear;
    readonly receptance: ShiftedLinear;
    /** Logarithm of how fast the past fades, [I]. */
    readonly logDecay: Tensor;
    /** Extra weight of the current token, [I]. */
    readonly bonus: Tensor;
    readonly output: LinearWeights;
  };
  readonly mlpNorm: NormWeights;
  readonly mlp: {
    readonly key: ShiftedLinear;
    readonly receptance: ShiftedLinear;
    readonly value: LinearWeights;
  };
}

/** What a layer remembers: the last token's features in both blocks [B, 1, E], and the scan's state [B, 3, I]. */
export type WkvState = {
  readonly attentionLast: Tensor;
  readonly scan: Tensor;
  readonly mlpLast: Tensor;
};

export function wkvStateShapes(
  { innerDim }: WkvMixer,
  modelDim: number,
): Record<keyof WkvState, readonly number[]> {
  return { attentionLast: [1, modelDim], scan: [3, innerDim], mlpLast: [1, modelDim] };
}

export function buildWkv(
  { innerDim, ffnDim }: WkvMixer,
  make: MakeWeight,
  { path, modelDim, norm }: { readonly path: string; readonly modelDim: number; readonly norm: NormConfig },
): WkvWeights {
  const linear = (name: string, shape: readonly number[]) =>
    buildLinear(make, `${path}.${name}`, { shape, hasBias: false });
  const shifted = (name: string, width: number): ShiftedLinear => ({
    ...linear(name, [width, modelDim]),
    mix: make(`${path}.${name}.mix`, [1, 1, modelDim]),
  });
  return {
    attentionNorm: buildNorm(norm, make, `${path}.attentionNorm`, modelDim),
    attention: {
      key: shifted("attention.key", innerDim),
      value: shifted("attention.value", innerDim),
      receptance: shifted("attention.receptance", innerDim),
      logDecay: make(`${path}.attention.logDecay`, [innerDim]),
      bonus: make(`${path}.attention.bonus`, [innerDim]),
      output: linear("attention.output", [modelDim, innerDim]),
    },
    mlpNorm: buildNorm(norm, make, `${path}.mlpNorm`, modelDim),
    mlp: {
      key: shifted("mlp.key", ffnDim),
      receptance: shifted("mlp.receptance", modelDim),
      value: linear("mlp.value", [modelDim, ffnDim]),
    },
  };
}

/**
 * One RWKV-4 layer: x + time mixing(norm(x)), then x + channel mixing(norm(x)).
 *
 * Shapes: x [B, T, E] -> [B, T, E].
 * @see Peng et al. 2023, RWKV, arXiv:2305.13048, section 3. Differs from transformers, which halves the stream every few layers to
 * keep half floats in range: the result is the same, since a norm follows
 */
export function wkvLayer(
  norm: NormConfig,
  weights: WkvWeights,
  { x, state, added }: MixerInput<WkvState>,
): Mixed<WkvState> {
  const { attention, mlp } = weights;
  const normed = normalize(norm, weights.attentionNorm, x);
  const time = shift(normed, state?.attentionLast);
  const { out: seen, state: scan } = wkvScan({
    key: time.project(attention.key),
    value: time.project(attention.value),
    decay: neg(exp(attention.logDecay)),
    bonus: attention.bonus,
    ...(state === undefined ? {} : { state: state.scan }),
  });
  const open = sigmoid(time.project(attention.receptance));
  const attended = add(x, added("attention", project(attention.output, mul(open, seen))));
  const channel = shift(normalize(norm, weights.mlpNorm, attended), state?.mlpLast);
  const fed = project(mlp.value, square(relu(channel.project(mlp.key))));
  const out = add(attended, added("mlp", mul(sigmoid(channel.project(mlp.receptance)), fed)));
  return { out, state: { attentionLast: time.last, scan, mlpLast: channel.last } };
}

/** Projections of x [B, T, E] blended with the token before, and x's last token [B, 1, E]. */
function shift(x: Tensor, before: Tensor | undefined) {
  const [B = 1, T = 1, E = 1] = x.shape;
  const first = before ?? fillLike(x, 0, { shape: [B, 1, E] });
  const older = T === 1 ? first : concat([first, x.narrow(1, 0, T - 1)], { axis: 1 });
  return {
    last: x.narrow(1, T - 1, T),
    project: (linear: ShiftedLinear) => project(linear, add(older, mul(sub(x, older), linear.mix))),
  };
}
